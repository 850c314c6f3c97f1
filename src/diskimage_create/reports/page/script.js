"use strict";

// The map: each rectangle is as large as what it stands for. Columns of its data:
const NAME = 0, PARENT = 1, BYTES = 2, FILES = 3, KIND = 4;
const DIRECTORY = 0, REST = 2;
const SVG = "http://www.w3.org/2000/svg";
const LABEL = 18, HUES = 8, LEVELS = 5;

function size(bytes) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  while (bytes >= 1024 && unit < units.length - 1) { bytes /= 1024; unit += 1; }
  return `${unit === 0 || bytes >= 100 ? Math.round(bytes) : bytes.toFixed(1)} ${units[unit]}`;
}

function make(tag, attributes, ...children) {
  const svg = ["svg", "g", "rect", "text", "title"].includes(tag);
  const element = svg ? document.createElementNS(SVG, tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

// "Squarified treemaps", Bruls, Huizing, van Wijk 2000: rows along the shorter side, as long as they get squarer.
function squarified(items, x, y, width, height) {
  const placed = [];
  const total = items.reduce((sum, item) => sum + item.bytes, 0);
  if (!(total > 0) || width <= 0 || height <= 0) return placed;
  const scale = (width * height) / total;
  const worst = (row, sum, side) => {
    const thick = (sum * scale) / side;
    return Math.max(...row.map((item) => {
      const long = (item.bytes * scale) / thick;
      return Math.max(long / thick, thick / long);
    }));
  };
  let start = 0;
  while (start < items.length) {
    const side = Math.min(width, height);
    let end = start + 1;
    let sum = items[start].bytes;
    let shape = worst(items.slice(start, end), sum, side);
    while (end < items.length) {
      const next = worst(items.slice(start, end + 1), sum + items[end].bytes, side);
      if (next > shape) break;
      shape = next;
      sum += items[end].bytes;
      end += 1;
    }
    const thick = (sum * scale) / side;
    let along = 0;
    for (const item of items.slice(start, end)) {
      const long = (item.bytes * scale) / thick;
      placed.push(width >= height
        ? { item, x, y: y + along, width: thick, height: long }
        : { item, x: x + along, y, width: long, height: thick });
      along += long;
    }
    if (width >= height) { x += thick; width -= thick; } else { y += thick; height -= thick; }
    start = end;
  }
  return placed;
}

function cut(text, width) {
  const room = Math.floor(width / 7);
  return text.length <= room ? text : room < 3 ? "" : `${text.slice(0, room - 1)}\u2026`;
}

function treemap(box) {
  const nodes = JSON.parse(document.getElementById(box.dataset.map).textContent);
  const below = nodes.map(() => []);
  nodes.forEach((node, index) => { if (index) below[node[PARENT]].push(index); });
  const hues = new Map(below[0].map((index, order) => [index, order % HUES]));
  const place = make("ol", { class: "place", "aria-label": "Place in the map" });
  const picture = make("svg", { role: "group", "aria-label": "Map of the disk" });
  const hint = make("p", { class: "hint" }, "Click a directory to look into it; the path above leads back.");
  box.append(place, picture, hint);
  box.hidden = false;
  box.parentElement.querySelector(".no-map").remove();
  let here = 0;
  let drawn = 0;

  const name = (index) => nodes[index][KIND] === REST ? "the rest" : nodes[index][NAME];
  const parents = (index) => index < 0 ? [] : [...parents(nodes[index][PARENT]), index];
  const children = (index) => below[index].map((child) => ({ index: child, bytes: nodes[child][BYTES] }))
    .filter((item) => item.bytes > 0).sort((one, other) => other.bytes - one.bytes);
  const opens = (index) => nodes[index][KIND] === DIRECTORY && below[index].length > 0;
  const hue = (index) => {
    const top = parents(index)[1];
    return nodes[index][KIND] === REST || top === undefined ? "plain" : `hue${hues.get(top)}`;
  };
  const held = (index) => {
    const percent = ((100 * nodes[index][BYTES]) / nodes[0][BYTES]).toFixed(1);
    const files = nodes[index][FILES];
    return `${size(nodes[index][BYTES])}, ${percent} %${nodes[index][KIND] === DIRECTORY ? `, ${files.toLocaleString("en")} files` : ""}`;
  };

  function go(index) {
    here = index;
    draw();
    const first = picture.querySelector("[role=button]") || place.querySelector("[aria-current]");
    if (first) first.focus({ preventScroll: true });
  }

  function path() {
    const steps = parents(here).map((index) => {
      const button = make("button", { type: "button" }, index === 0 ? "/" : nodes[index][NAME]);
      if (index === here) button.setAttribute("aria-current", "location");
      button.addEventListener("click", () => go(index));
      return make("li", {}, button, index !== here && index !== 0 ? " /" : "");
    });
    place.replaceChildren(...steps, make("li", { class: "held", role: "status" }, held(here)));
  }

  function rectangle(spot, className) {
    return make("rect", {
      class: className, x: spot.x.toFixed(2), y: spot.y.toFixed(2),
      width: Math.max(0, spot.width).toFixed(2), height: Math.max(0, spot.height).toFixed(2),
    });
  }

  function label(spot, text, className, line) {
    const shown = className === "held" && cut(text, spot.width - 8) !== text ? "" : cut(text, spot.width - 8);
    if (!shown || spot.height < LABEL * (line + 1)) return [];
    return [make("text", { class: className, x: (spot.x + 5).toFixed(2), y: (spot.y + 13 + LABEL * line).toFixed(2) }, shown)];
  }

  // A rectangle with what is in it, as far down as there is room to see it.
  function filled(spot, path, level) {
    const index = spot.item.index;
    const parts = [make("title", {}, `${path}: ${held(index)}`), rectangle(spot, `level${level}`)];
    const inner = { x: spot.x + 3, y: spot.y + LABEL + 1, width: spot.width - 6, height: spot.height - LABEL - 4 };
    parts.push(...label(spot, name(index), level < 2 ? "name" : "", 0));
    if (level < LEVELS && opens(index) && inner.width > 36 && inner.height > 24) {
      for (const small of squarified(children(index), inner.x, inner.y, inner.width, inner.height)) {
        if (small.width < 3 || small.height < 3) continue;
        parts.push(make("g", {}, ...filled(small, `${path}/${name(small.item.index)}`, level + 1)));
      }
    } else {
      parts.push(...label(spot, size(nodes[index][BYTES]), "held", 1));
    }
    return parts;
  }

  function group(spot) {
    const index = spot.item.index;
    const element = make("g", {
      class: hue(index), "data-bytes": nodes[index][BYTES], "data-name": name(index),
      "aria-label": `${name(index)}: ${held(index)}`,
    }, ...filled(spot, name(index), 1));
    if (!opens(index)) { element.setAttribute("role", "img"); return element; }
    element.setAttribute("role", "button");
    element.setAttribute("tabindex", "0");
    element.addEventListener("click", () => go(index));
    element.addEventListener("keydown", (event) => {
      if (event.key === "Enter" || event.key === " ") { event.preventDefault(); go(index); }
    });
    return element;
  }

  function draw() {
    const width = Math.floor(box.clientWidth);
    const height = Math.round(Math.min(560, Math.max(300, width * 0.5)));
    drawn = width;
    picture.setAttribute("viewBox", `0 0 ${width} ${height}`);
    picture.setAttribute("height", height);
    picture.replaceChildren(...squarified(children(here), 0, 0, width, height).map(group));
    path();
  }

  picture.addEventListener("keydown", (event) => {
    if ((event.key === "Escape" || event.key === "Backspace") && here !== 0) go(nodes[here][PARENT]);
  });
  new ResizeObserver(() => { if (Math.floor(box.clientWidth) !== drawn) draw(); }).observe(box);
  draw();
}

// Tables: a click on a heading sorts, what is typed is looked for in all columns.
function packages(section) {
  const table = section.querySelector("table.sortable");
  if (!table) return;
  const rows = [...table.tBodies[0].rows].map((row) => ({ row, text: row.textContent.toLowerCase() }));
  const headings = [...table.tHead.rows[0].cells];
  const compare = new Intl.Collator("en", { numeric: true }).compare;
  const value = (row, column) => row.cells[column].dataset.value;

  headings.forEach((heading, column) => {
    const button = make("button", { type: "button" }, heading.textContent);
    heading.replaceChildren(button);
    button.addEventListener("click", () => {
      const numbers = heading.classList.contains("number");
      const down = heading.hasAttribute("aria-sort") ? heading.getAttribute("aria-sort") === "ascending" : numbers;
      headings.forEach((each) => each.removeAttribute("aria-sort"));
      heading.setAttribute("aria-sort", down ? "descending" : "ascending");
      rows.sort((one, other) => (down ? -1 : 1) * (numbers
        ? value(one.row, column) - value(other.row, column)
        : compare(one.row.cells[column].textContent, other.row.cells[column].textContent)));
      table.tBodies[0].append(...rows.map((each) => each.row));
    });
  });

  const filter = section.querySelector(".filter");
  const input = filter.querySelector("input");
  const found = filter.querySelector(".found");
  filter.hidden = false;
  input.addEventListener("input", () => {
    const wanted = input.value.trim().toLowerCase();
    let count = 0;
    for (const each of rows) {
      each.row.hidden = !each.text.includes(wanted);
      count += each.row.hidden ? 0 : 1;
    }
    found.textContent = wanted ? `${count} of ${rows.length}` : "";
  });
}

document.querySelectorAll(".treemap").forEach(treemap);
document.querySelectorAll(".packages").forEach(packages);
// On paper nothing can be opened.
window.addEventListener("beforeprint", () => {
  document.querySelectorAll("details.group, details.part").forEach((each) => { each.open = true; });
});
