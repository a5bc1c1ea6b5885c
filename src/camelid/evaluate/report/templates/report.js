"use strict";
// Sorts tables, filters conversations, marks what differs between two answers. The page reads as well without.
const all = (selector, within = document) => [...within.querySelectorAll(selector)];

// A button in a column's head sorts the table by it: downwards, upwards, and as it was.
function sortBy(table, head, original) {
  const column = head.cellIndex;
  const before = head.getAttribute("aria-sort");
  for (const other of all("[aria-sort]", table)) other.removeAttribute("aria-sort");
  if (before === "ascending") return table.tBodies[0].append(...original);
  const descending = before !== "descending";
  head.setAttribute("aria-sort", descending ? "descending" : "ascending");
  const key = (row) => {
    const cell = row.cells[column];
    const order = cell.dataset.order;
    return order === undefined ? (head.classList.contains("numeric") ? null : cell.textContent) : Number(order);
  };
  const compare = (a, b) => (typeof a === "string" ? a.localeCompare(b) : a < b ? -1 : a > b ? 1 : 0);
  const rows = original.map((row) => [key(row), row]);
  rows.sort(([a], [b]) => {
    if (a === null || b === null) return (a === null) - (b === null); // what was not measured comes last
    return descending ? compare(b, a) : compare(a, b);
  });
  table.tBodies[0].append(...rows.map(([, row]) => row));
}
for (const table of all("table")) {
  const original = [...table.tBodies[0].rows];
  for (const head of table.tHead.rows[table.tHead.rows.length - 1].cells) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "sort";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => sortBy(table, head, original));
  }
}

// A word finds measures by name.
const findMeasure = document.getElementById("find-measure");
if (findMeasure) {
  const rows = all(".everything tbody tr");
  const show = () => {
    const wanted = findMeasure.value.trim().toLowerCase();
    for (const row of rows) row.hidden = !row.cells[0].textContent.toLowerCase().includes(wanted);
    const found = rows.filter((row) => !row.hidden).length;
    document.getElementById("measures-shown").textContent = wanted ? `${found} of ${rows.length} measures` : "";
    if (wanted) for (const part of all(".everything details")) part.open = true;
  };
  findMeasure.closest(".filters").hidden = false;
  findMeasure.addEventListener("input", show);
}

// Words (with the space before them) that two texts share in order, by the longest common subsequence.
const MOST_CELLS = 4e6;
const wordsOf = (text) => text.match(/\s*\S+|\s+$/g) ?? [];
function shared(a, b) {
  const same = (i, j) => a[i].trim() === b[j].trim();
  let start = 0;
  let ends = [a.length, b.length];
  while (start < Math.min(...ends) && same(start, start)) start += 1;
  while (Math.min(...ends) > start && same(ends[0] - 1, ends[1] - 1)) ends = [ends[0] - 1, ends[1] - 1];
  const [kept, keptToo] = [new Set(), new Set()];
  for (let i = 0; i < start; i += 1) kept.add(i) && keptToo.add(i);
  for (let k = 0; k < a.length - ends[0]; k += 1) kept.add(ends[0] + k) && keptToo.add(ends[1] + k);
  const [n, m] = [ends[0] - start, ends[1] - start];
  if (n * m > MOST_CELLS) return null;
  const length = Array.from({ length: n + 1 }, () => new Uint16Array(m + 1));
  for (let i = n - 1; i >= 0; i -= 1) {
    for (let j = m - 1; j >= 0; j -= 1) {
      length[i][j] = same(start + i, start + j)
        ? length[i + 1][j + 1] + 1
        : Math.max(length[i + 1][j], length[i][j + 1]);
    }
  }
  for (let i = 0, j = 0; i < n && j < m; ) {
    if (same(start + i, start + j)) {
      kept.add(start + i);
      keptToo.add(start + j);
      i += 1;
      j += 1;
    } else if (length[i + 1][j] >= length[i][j + 1]) i += 1;
    else j += 1;
  }
  return [kept, keptToo];
}
function mark(element, words, kept, tag) {
  element.textContent = "";
  let open = null;
  words.forEach((word, place) => {
    if (kept.has(place)) {
      open = null;
      element.append(word);
    } else {
      if (open === null) {
        const space = word.match(/^\s*/)[0];
        open = document.createElement(tag);
        element.append(space, open);
        word = word.slice(space.length);
      }
      open.append(word);
    }
  });
}
function markPair(first, second) {
  const [a, b] = [wordsOf(first.text), wordsOf(second.text)];
  const common = shared(a, b);
  if (common === null) return false;
  if (first.box) mark(first.box, a, common[0], "del");
  if (second.box) mark(second.box, b, common[1], "ins");
  return true;
}

// Which conversations, and which versions' answers in them, are shown.
const chooser = document.getElementById("chooser");
if (chooser) {
  const control = (id) => document.getElementById(id);
  const value = (id) => control(id)?.value ?? "";
  const boxes = all("input", chooser);
  const first = boxes.map((box) => box.checked);
  const examples = all(".example").map((element) => ({
    element,
    words: element.textContent.toLowerCase(),
    tags: all(".tag", element).map((tag) => tag.textContent),
    answers: all(".answer[data-version]", element).map((answer) => {
      const box = answer.querySelector(".text");
      const refused = answer.classList.contains("refused");
      return { element: answer, version: answer.dataset.version, refused, box, text: box?.textContent ?? "" };
    }),
  }));
  const refusals = {
    some: (answers) => answers.some((answer) => answer.refused),
    none: (answers) => !answers.some((answer) => answer.refused),
    all: (answers) => answers.every((answer) => answer.refused),
    split: (answers) => new Set(answers.map((answer) => answer.refused)).size > 1,
  };
  const fits = (example, answers, pair) => {
    const tag = value("by-tag");
    const refusal = value("by-refusal");
    const differ = value("by-differ");
    const several = new Set(answers.map((answer) => answer.text.trim())).size > 1;
    return (
      answers.length >= (pair ? 2 : 1) &&
      (!tag || example.tags.includes(tag)) &&
      (!refusal || refusals[refusal](answers)) &&
      (!differ || several === (differ === "differ")) &&
      value("find-text").toLowerCase().split(/\s+/).every((word) => example.words.includes(word))
    );
  };
  const apply = () => {
    const [from, to] = [value("by-first"), value("by-second")];
    const pair = from && to && from !== to;
    const chosen = pair ? [from, to] : boxes.filter((box) => box.checked).map((box) => box.dataset.version);
    document.body.classList.toggle("comparing", Boolean(pair));
    let count = 0;
    let tooLong = 0;
    for (const example of examples) {
      for (const answer of example.answers) {
        answer.element.hidden = !chosen.includes(answer.version);
        answer.element.style.order = pair ? chosen.indexOf(answer.version) : "";
        if (answer.box?.firstElementChild) answer.box.textContent = answer.text; // takes old marks away
      }
      const answers = example.answers.filter((answer) => !answer.element.hidden);
      example.element.hidden = !fits(example, answers, pair);
      if (example.element.hidden) continue;
      count += 1;
      if (!pair) continue;
      const [before, after] = chosen.map((version) => answers.find((answer) => answer.version === version));
      tooLong += markPair(before, after) ? 0 : 1;
    }
    const unmarked = tooLong ? `, ${tooLong} too long to mark` : "";
    control("shown").textContent = `${count} of ${examples.length} shown${unmarked}`;
  };
  const reset = () => {
    for (const part of all("select, input", control("filters"))) part.value = "";
    boxes.forEach((box, place) => (box.checked = first[place]));
    apply();
  };
  chooser.hidden = control("filters").hidden = false;
  for (const part of [...boxes, ...all("select", control("filters"))]) part.addEventListener("change", apply);
  control("find-text").addEventListener("input", apply);
  control("reset").addEventListener("click", reset);
  apply();
}
