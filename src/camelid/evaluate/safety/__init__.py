"""Safety: does an answer refuse, how often is harm not refused, how warm or toxic is it, is it true."""
