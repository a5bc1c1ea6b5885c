"use strict";
// A click on a column's head sorts the table by it; the page reads as well without.
function sortBy(table, head) {
  const column = head.cellIndex;
  const descending = head.getAttribute("aria-sort") !== "descending";
  for (const other of table.querySelectorAll("[aria-sort]")) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", descending ? "descending" : "ascending");
  const key = (row) => {
    const cell = row.cells[column];
    const order = cell.dataset.order;
    return order === undefined ? (head.classList.contains("numeric") ? null : cell.textContent) : Number(order);
  };
  const compare = (a, b) => (typeof a === "string" ? a.localeCompare(b) : a - b);
  const rows = [...table.tBodies[0].rows].map((row) => [key(row), row]);
  rows.sort(([a], [b]) => {
    if (a === null || b === null) return (a === null) - (b === null); // what was not measured comes last
    return descending ? compare(b, a) : compare(a, b);
  });
  table.tBodies[0].append(...rows.map(([, row]) => row));
}
for (const table of document.querySelectorAll("table")) {
  for (const head of table.tHead.rows[table.tHead.rows.length - 1].cells) {
    head.dataset.sortable = "";
    head.tabIndex = 0;
    head.addEventListener("click", () => sortBy(table, head));
    head.addEventListener("keydown", (event) => {
      if (event.key === "Enter" || event.key === " ") {
        event.preventDefault();
        sortBy(table, head);
      }
    });
  }
}
// Boxes that choose which versions' answers stand side by side.
const chooser = document.getElementById("chooser");
if (chooser) {
  const show = (box) => {
    for (const answer of document.querySelectorAll(`.answer[data-version="${box.dataset.version}"]`)) {
      answer.hidden = !box.checked;
    }
  };
  chooser.hidden = false;
  for (const box of chooser.querySelectorAll("input")) {
    show(box);
    box.addEventListener("change", () => show(box));
  }
}
