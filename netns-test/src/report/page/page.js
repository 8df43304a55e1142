"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const $ = (id) => document.getElementById(id);
const make = (name, text = "", attributes = {}) => {
  const element = document.createElement(name);
  element.textContent = text;
  Object.entries(attributes).forEach(([key, value]) => element.setAttribute(key, value));
  return element;
};

// What each packet is: [time in µs, from, to, link, marks, kind, summary, headers, hexadecimal bytes, length].
const LOST = 1, AGAIN = 2, RESET = 4, ERROR = 8, HOUSEKEEPING = 16, CORRUPTED = 32, LOG = 64;
const WRONG = LOST | AGAIN | RESET | ERROR | CORRUPTED;
const ROW = 36, HEAD = 24;
const packets = data.packets.map(([time, from, to, link, marks, kind, summary, headers, bytes, length]) =>
  ({ time, from, to, link, marks, kind, summary, headers, bytes, length }));
const logs = data.logs.map(([time, node, text]) =>
  ({ time, from: node, to: [], marks: LOG, kind: "log", summary: node === null ? `the body: ${text}` : text, headers: [], bytes: "", length: 0 }));
const rows = packets.concat(logs);
rows.sort((left, right) => left.time - right.time);

$("test").textContent = data.test;
$("how").textContent = data.how;
for (const [node, text] of data.signs) {
  const item = make("li");
  item.append(make("b", node), " " + text);
  $("signs").append(item);
}

// The nodes from one end to the other, so that neighbours stand beside each other.
const order = (() => {
  const near = data.nodes.map((_, node) =>
    data.links.filter((ends) => ends.includes(node)).flat().filter((other) => other !== node));
  const starts = data.nodes.map((_, node) => node).sort((left, right) => near[left].length - near[right].length || left - right);
  const placed = new Set();
  const place = (node) => {
    if (placed.has(node)) return;
    placed.add(node);
    near[node].forEach(place);
  };
  starts.forEach(place);
  return [...placed];
})();

// The network: nodes in a row, links as arcs over them, switches as bars.
function topology() {
  const width = 150, top = 26 + 22 * Math.max(1, data.links.length > 6 ? 3 : data.links.length);
  const lines = Math.max(1, ...data.nodes.map((node) => node.addresses.length));
  const parts = [];
  const center = (node) => order.indexOf(node) * width + width / 2;
  // The links of one node beside each other.
  const port = (node, link) => {
    const own = data.links.map((ends, index) => (ends.includes(node) ? index : -1)).filter((index) => index >= 0);
    own.sort((left, right) => middle(left) - middle(right));
    return center(node) + (own.indexOf(link) - (own.length - 1) / 2) * Math.min(18, 110 / own.length);
  };
  const middle = (link) => data.links[link].reduce((sum, node) => sum + center(node), 0) / data.links[link].length;
  const escape = (text) => text.replace(/[&<>"]/g, (char) => `&#${char.charCodeAt(0)};`);
  data.links.forEach((ends, index) => {
    const level = top - 18 - 22 * (index % 3);
    const xs = ends.map((node) => port(node, index)).sort((left, right) => left - right);
    const bar = ends.length > 2;
    for (const x of xs) parts.push(`<path class="wire" d="M${x} ${top}V${level}"/>`);
    parts.push(`<path class="wire" d="M${xs[0]} ${level}H${xs[xs.length - 1]}"${bar ? ' stroke-width="5"' : ""}/>`);
  });
  data.nodes.forEach((node, index) => {
    const x = center(index);
    parts.push(`<rect x="${x - 66}" y="${top}" width="132" height="${26 + 15 * lines}" rx="${node.router ? 14 : 4}"/>`);
    parts.push(`<text x="${x}" y="${top + 17}" text-anchor="middle" font-weight="600">${escape(node.name)}</text>`);
    node.addresses.forEach((address, line) => parts.push(
      `<text class="faint" x="${x}" y="${top + 33 + 15 * line}" text-anchor="middle">${escape(address)}</text>`));
  });
  const height = top + 34 + 15 * lines;
  $("topology").innerHTML = `<svg width="${data.nodes.length * width}" height="${height}" role="img" ` +
    `aria-label="the network">${parts.join("")}</svg>`;
}

// Filters.
const off = new Set();
order.forEach((index) => {
  const node = data.nodes[index];
  const button = make("button", node.name, { type: "button", "aria-pressed": "true" });
  button.onclick = () => {
    off.has(index) ? off.delete(index) : off.add(index);
    button.setAttribute("aria-pressed", String(!off.has(index)));
    filter();
  };
  $("nodes").append(button);
});
$("protocol").append(make("option", "all", { value: "" }));
[...new Set(rows.map((row) => row.kind))].sort().forEach((kind) => $("protocol").append(make("option", kind)));

let shown = [], columns = [], selected = null;
function filter() {
  const text = $("search").value.toLowerCase(), kind = $("protocol").value;
  shown = rows.filter((row) =>
    (!(row.marks & HOUSEKEEPING) || $("housekeeping").checked || row.marks & (LOST | CORRUPTED)) &&
    (!$("trouble").checked || row.marks & (WRONG | LOG)) &&
    (!kind || row.kind === kind) &&
    (!text || row.summary.toLowerCase().includes(text)) &&
    (row.marks & LOG && row.from === null || [row.from, ...row.to].some((node) => node !== null && !off.has(node))));
  columns = order.filter((index) => !off.has(index));
  $("space").style.height = `${HEAD + shown.length * ROW + 8}px`;
  $("count").textContent = `${shown.length} of ${rows.length}` + (data.omitted ? `, ${data.omitted} older ones left out` : "");
  draw();
  drawMap();
}

const TROUBLE = [
  [LOST, "lost", "✗ did not arrive"], [CORRUPTED, "lost", "✗ corrupted on its way"], [AGAIN, "again", "↻ once more"],
  [RESET, "lost", "✗ reset"], [ERROR, "error", "✗ error"],
];
for (const [mark, name, word] of TROUBLE) {
  const count = rows.filter((row) => row.marks & mark).length;
  if (count) $("tally").append(make("span", `${count} ${word}`, { style: `color: var(--${name})` }));
}

function colors() {
  const style = getComputedStyle(document.documentElement);
  return (name) => style.getPropertyValue(`--${name}`).trim();
}

// A canvas as large as its place, and its pen.
function prepare(canvas, width, height) {
  const ratio = devicePixelRatio || 1;
  if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
  }
  const pen = canvas.getContext("2d");
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  return pen;
}

// Where trouble is in all that is shown, beside the scroll bar.
function drawMap() {
  const map = $("map"), width = map.clientWidth, height = map.clientHeight, color = colors();
  const pen = prepare(map, width, height);
  pen.fillStyle = color("raised");
  pen.fillRect(0, 0, width, height);
  shown.forEach(({ marks }, index) => {
    if (!(marks & WRONG)) return;
    pen.fillStyle = color(ink(marks));
    pen.fillRect(2, height * index / shown.length, width - 4, Math.max(2, height / shown.length - 1));
  });
}

// The diagram: only the rows in sight are drawn.
const canvas = $("canvas"), scroller = $("scroller");
function draw() {
  const width = scroller.clientWidth, height = scroller.clientHeight, color = colors();
  const pen = prepare(canvas, width, height);
  canvas.style.width = `${width}px`;
  canvas.style.height = `${height}px`;
  pen.fillStyle = color("back");
  pen.fillRect(0, 0, width, height);
  const left = width < 600 ? 62 : 92, step = (width - left) / Math.max(1, columns.length);
  const at = (node) => left + step * columns.indexOf(node) + step / 2;
  pen.strokeStyle = color("line");
  pen.lineWidth = 1;
  for (const node of columns) line(pen, at(node), 0, at(node), height);
  const first = Math.max(0, Math.floor((scroller.scrollTop - HEAD) / ROW));
  const last = Math.min(shown.length, first + Math.ceil(height / ROW) + 2);
  for (let index = first; index < last; index++) {
    row(pen, shown[index], HEAD + index * ROW - scroller.scrollTop, { width, left, at, color });
  }
  pen.fillStyle = color("raised");
  pen.fillRect(0, 0, width, HEAD);
  pen.fillStyle = color("text");
  pen.font = "600 12px system-ui, sans-serif";
  pen.textAlign = "center";
  for (const node of columns) pen.fillText(cut(pen, data.nodes[node].name, step - 4), at(node), 16);
  pen.textAlign = "right";
  pen.fillStyle = color("faint");
  pen.fillText("ms", left - 8, 16);
}

function line(pen, x, y, otherX, otherY) {
  pen.beginPath();
  pen.moveTo(x, y);
  pen.lineTo(otherX, otherY);
  pen.stroke();
}

function cut(pen, text, width) {
  if (pen.measureText(text).width <= width) return text;
  let length = Math.max(1, Math.floor(text.length * width / pen.measureText(text).width) - 1);
  return text.slice(0, length) + "…";
}

function ink(marks) {
  if (marks & (LOST | RESET | CORRUPTED)) return "lost";
  if (marks & ERROR) return "error";
  if (marks & AGAIN) return "again";
  if (marks & LOG) return "log";
  return "data";
}

function words(marks) {
  return TROUBLE.filter(([mark]) => marks & mark).map(([, , word]) => word).join(" ");
}

function row(pen, packet, y, { width, left, at, color }) {
  if (packet === selected) {
    pen.fillStyle = color("raised");
    pen.fillRect(0, y, width, ROW);
  }
  pen.font = "11px ui-monospace, monospace";
  pen.textAlign = "right";
  pen.fillStyle = color("faint");
  pen.fillText((packet.time / 1000).toFixed(3), left - 8, y + 15);
  const name = ink(packet.marks);
  const from = packet.from !== null && columns.includes(packet.from) ? at(packet.from) : null;
  const ends = packet.to.filter((node) => columns.includes(node)).map(at);
  const start = from ?? ends[0] ?? left;
  pen.strokeStyle = pen.fillStyle = color(name);
  pen.lineWidth = 1.6;
  if (packet.marks & LOG) {
    pen.fillRect(start - 3, y + 7, 6, 6);
  } else if (packet.marks & LOST || !packet.to.length) {
    // Half of the way to a neighbour.
    const way = direction(packet, at, start) * 46;
    pen.setLineDash([4, 3]);
    line(pen, start, y + 27, start + way, y + 27);
    pen.setLineDash([]);
    line(pen, start + way - 4, y + 23, start + way + 4, y + 31);
    line(pen, start + way - 4, y + 31, start + way + 4, y + 23);
  } else {
    for (const end of ends) {
      if (end === start) {
        pen.strokeRect(start - 3, y + 24, 6, 6);
        continue;
      }
      line(pen, start, y + 27, end, y + 27);
      const way = Math.sign(end - start);
      pen.beginPath();
      pen.moveTo(end, y + 27);
      pen.lineTo(end - 8 * way, y + 23);
      pen.lineTo(end - 8 * way, y + 31);
      pen.fill();
    }
  }
  pen.textAlign = "left";
  pen.font = "12px system-ui, sans-serif";
  const text = [words(packet.marks), packet.summary].filter(Boolean).join("  ");
  const begin = Math.min(...[start, ...ends]) + 8;
  const place = Math.max(left, Math.min(begin, width - Math.min(pen.measureText(text).width, width - left) - 6));
  const said = cut(pen, text, width - place - 4);
  pen.fillStyle = color(packet === selected ? "raised" : "back");
  pen.fillRect(place - 2, y + 4, pen.measureText(said).width + 4, 16);
  pen.fillStyle = name === "data" ? color("text") : color(name);
  pen.fillText(said, place, y + 16);
}

// Which way the other end of the link is.
function direction(packet, at, start) {
  const ends = packet.link === null ? [] : data.links[packet.link].filter((node) => node !== packet.from && columns.includes(node));
  return ends.length && at(ends[0]) < start ? -1 : 1;
}

// One packet, unfolded.
function show(packet) {
  selected = packet;
  const box = $("details");
  box.replaceChildren();
  box.hidden = !packet;
  if (packet) {
    const close = make("button", "Close", { type: "button" });
    close.onclick = () => show(null);
    box.append(close, make("h2", `${(packet.time / 1000).toFixed(3)} ms  ${words(packet.marks)} ${packet.summary}`));
    const place = (node) => (node === null ? "?" : data.nodes[node].name);
    if (!(packet.marks & LOG)) {
      const to = packet.to.length ? packet.to.map(place).join(", ") : "nobody who was seen";
      box.append(make("div", `${place(packet.from)} → ${to}, ${packet.length} bytes`));
    }
    for (const [title, ...fields] of packet.headers) {
      const fold = make("details", "", { open: "" });
      fold.append(make("summary", title), make("pre", fields.join("\n")));
      box.append(fold);
    }
    if (packet.bytes) {
      const fold = make("details");
      const known = packet.bytes.length / 2;
      fold.append(make("summary", known < packet.length ? `Bytes, the first ${known}` : "Bytes"), make("pre", dump(packet.bytes)));
      box.append(fold);
    }
    reveal(shown.indexOf(packet));
  }
  draw();
}

// Scrolls to a row, so far that nothing covers it.
function reveal(index) {
  if (index < 0) return;
  const isPhone = matchMedia("(max-width: 600px)").matches;
  if (isPhone) $("diagram").scrollIntoView();
  const covered = isPhone ? $("details").getBoundingClientRect().top : Infinity;
  const y = HEAD + index * ROW, height = Math.min(scroller.clientHeight, covered - scroller.getBoundingClientRect().top);
  if (y < scroller.scrollTop + HEAD) scroller.scrollTop = y - HEAD;
  if (y + ROW > scroller.scrollTop + height) scroller.scrollTop = y + ROW - height;
}

function dump(hex) {
  const lines = [];
  for (let offset = 0; offset < hex.length; offset += 32) {
    const bytes = hex.slice(offset, offset + 32).match(/../g);
    const text = bytes.map((byte) => parseInt(byte, 16)).map((byte) => (byte > 31 && byte < 127 ? String.fromCharCode(byte) : "."));
    lines.push(`${(offset / 2).toString(16).padStart(4, "0")}  ${bytes.join(" ").padEnd(48)} ${text.join("")}`);
  }
  return lines.join("\n");
}

function select(step) {
  const index = Math.max(0, Math.min(shown.length - 1, shown.indexOf(selected) + step));
  if (shown[index]) show(shown[index]);
}

// Once in a frame, however often it is scrolled in it.
let isDue = false;
scroller.onscroll = () => {
  if (isDue) return;
  isDue = true;
  requestAnimationFrame(() => {
    isDue = false;
    draw();
  });
};
$("map").onclick = (event) => {
  scroller.scrollTop = shown.length * ROW * event.offsetY / $("map").clientHeight - scroller.clientHeight / 2;
};
scroller.onclick = (event) => {
  const y = event.clientY - scroller.getBoundingClientRect().top + scroller.scrollTop - HEAD;
  show(shown[Math.floor(y / ROW)] ?? null);
};
scroller.onkeydown = (event) => {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (step) {
    event.preventDefault();
    select(step);
  } else if (event.key === "Escape") {
    show(null);
  }
};
for (const id of ["search", "protocol", "trouble", "housekeeping"]) $(id).oninput = filter;
const redraw = () => {
  draw();
  drawMap();
};
new ResizeObserver(redraw).observe(scroller);
matchMedia("(prefers-color-scheme: dark)").onchange = redraw;
topology();
filter();
