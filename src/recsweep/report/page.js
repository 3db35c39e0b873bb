// Sorts tables, hides series, says what is under the pointer, copies commands. The page reads without it.
// All words that come from runs are set as text, never as markup.
"use strict";
function makeButton(parent) {
  const button = document.createElement("button");
  button.type = "button";
  button.append(...parent.childNodes);
  parent.append(button);
  return button;
}

// Tables: a click on a header sorts by its column, a second one the other way, a third one as at first.
const NUMBER = /^(<\s*)?([+-]?\d+(?:\.\d+)?(?:e[+-]?\d+)?)(\s*min\b)?/;

function readNumber(text) {
  const match = NUMBER.exec(text.replaceAll("−", "-").replaceAll(",", ""));
  if (!match) return NaN;
  return Number(match[2]) * (match[3] ? 60 : 1) * (match[1] ? 1 - 1e-9 : 1);
}

function compareCells(left, right) {
  const [a, b] = [readNumber(left), readNumber(right)];
  return Number.isNaN(a) || Number.isNaN(b) ? left.localeCompare(right, undefined, { numeric: true }) : a - b;
}

function sortRows(bodies, column, order) {
  const sizes = bodies.map((body) => body.rows.length);
  const rows = bodies.flatMap((body) => [...body.rows]);
  const readCell = (row) => row.cells[column].textContent.trim();
  const isLast = (row) => Number(readCell(row) === "–");
  const isOracle = (row) => Number(row.classList.contains("oracle"));
  rows.sort((a, b) => {
    if (order === "none") return a.dataset.place - b.dataset.place;
    const difference = compareCells(readCell(a), readCell(b));
    return isOracle(b) - isOracle(a) || isLast(a) - isLast(b) || (order === "ascending" ? difference : -difference);
  });
  bodies.forEach((body, number) => body.append(...rows.splice(0, sizes[number])));
}

function makeSortable(tables) {
  const headers = tables.map((table) => [...table.tHead.rows[0].cells]);
  const bodies = tables.map((table) => table.tBodies[0]);
  bodies.flatMap((body) => [...body.rows]).forEach((row, place) => (row.dataset.place = place));
  for (const header of headers.flat()) {
    makeButton(header).addEventListener("click", () => {
      const orders = { ascending: "descending", descending: "none" };
      const order = orders[header.getAttribute("aria-sort")] ?? "ascending";
      for (const other of headers.flat()) other.removeAttribute("aria-sort");
      if (order !== "none") for (const row of headers) row[header.cellIndex].setAttribute("aria-sort", order);
      sortRows(bodies, header.cellIndex, order);
    });
  }
}

for (const group of document.querySelectorAll(".rows")) makeSortable([...group.querySelectorAll("table")]);

// Legends: a click on an entry hides its series in the plots above, a second one shows it.
for (const figure of document.querySelectorAll("figure")) {
  figure.querySelectorAll(".legend li").forEach((entry, series) => {
    const button = makeButton(entry);
    button.setAttribute("aria-pressed", "true");
    button.addEventListener("click", () => {
      const isShown = button.getAttribute("aria-pressed") === "false";
      button.setAttribute("aria-pressed", isShown);
      for (const mark of figure.querySelectorAll(`[data-series="${series}"]`)) mark.classList.toggle("hidden", !isShown);
    });
  });
}

// Plots: the text of the mark nearest to the pointer or finger. Without a script browsers show it themselves, later.
const AROUND = [[0, 0], [0, -5], [5, 0], [0, 5], [-5, 0], [7, -7], [7, 7], [-7, 7], [-7, -7]];
const tip = document.body.appendChild(document.createElement("div"));
tip.className = "tip";

function findMark(x, y) {
  for (const [dx, dy] of AROUND) {
    for (const element of document.elementsFromPoint(x + dx, y + dy)) {
      const mark = element.closest("[data-tip]");
      if (mark) return mark;
    }
  }
  return null;
}

function showTip(event) {
  const mark = findMark(event.clientX, event.clientY);
  tip.classList.toggle("shown", mark !== null);
  if (mark === null) return;
  tip.textContent = mark.dataset.tip;
  tip.style.left = `${Math.max(8, Math.min(event.clientX + 14, innerWidth - tip.offsetWidth - 8))}px`;
  const above = event.clientY - tip.offsetHeight - 12;
  tip.style.top = `${above > 8 ? above : event.clientY + 20}px`;
}

for (const title of document.querySelectorAll("svg title")) {
  title.parentNode.dataset.tip = title.textContent;
  title.parentNode.setAttribute("aria-label", title.textContent);
  title.remove();
}
for (const name of ["pointermove", "pointerdown"]) document.addEventListener(name, showTip);
document.addEventListener("scroll", () => tip.classList.remove("shown"), true);

// Commands: a button copies one; where the browser does not allow that, it selects it.
for (const command of document.querySelectorAll(".command")) {
  const text = command.firstElementChild;
  const button = command.appendChild(document.createElement("button"));
  button.type = "button";
  button.textContent = "Copy";
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(text.textContent);
      button.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(text);
      button.textContent = "Selected";
    }
    setTimeout(() => (button.textContent = "Copy"), 2000);
  });
}
