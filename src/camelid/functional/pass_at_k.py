"""pass@k: the chance that at least one of k programs is right, estimated from n of which c are."""

from __future__ import annotations


def pass_at_k(n: int, c: int, k: int) -> float:
    """Unbiased estimator (Chen et al. 2021, arXiv:2107.03374, eq. 1):

        1 - C(n - c, k) / C(n, k)  =  1 - prod_{i = n - c + 1}^{n} (1 - k / i)

    `n` programs drawn for a problem, `c` of them right. 1 - (1 - c / n)^k would be too low: it draws with putting back.
    Raises ValueError unless 0 <= c <= n and 1 <= k <= n.
    """
    if not 0 <= c <= n or not 1 <= k <= n:
        raise ValueError(f"{c} right of {n}, k = {k}: need 0 <= c <= n and 1 <= k <= n")
    none_right = 1.0
    for i in range(n - c + 1, n + 1):
        none_right *= max(0.0, 1 - k / i)  # below 0 only before the factor of i = k, which is 0
    return 1 - none_right
