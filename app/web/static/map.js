// The latent space: its points, their cells, and what is generated near them.
import { byId, count, el, figure, get, nameOf, post, problem, short, warningList } from "./api.js";
import { colours as pageColours, draw, PALETTE } from "./charts.js";
import { Points, SHAPES } from "./points.js";

const { space, gamma } = byId("map-page").dataset;
const MARGINS = { l: 56, r: 12, t: 12, b: 48 };
const UNKNOWN = "#9a9a9a";
const VIRIDIS = [[68, 1, 84], [59, 82, 139], [33, 145, 140], [94, 201, 98], [253, 231, 37]];
const FIELDS = { method: "pca", colour: "dataset", operation: "", dataset: "" };

const chart = byId("map");
const frame = byId("frame");
const points = new Points(frame, MARGINS);
const hover = el("div", { class: "hover", hidden: true });
const legend = el("div", { class: "row", id: "legend" });
frame.append(hover);
frame.after(legend);

let map = { items: [] }, index = new Map(), chosen = null, ranges = null;

function scale(share) {
  const at = Math.min(0.9999, Math.max(0, share)) * (VIRIDIS.length - 1), low = Math.floor(at);
  const mixed = VIRIDIS[low].map((value, i) => Math.round(value + (at - low) * (VIRIDIS[low + 1][i] - value)));
  return `#${mixed.map((value) => value.toString(16).padStart(2, "0")).join("")}`;
}

function valueOf(point) {
  switch (byId("colour").value) {
    case "dataset": return point.dataset;
    case "origin": return point.origin;
    case "accuracy": return point.accuracy;
    case "parameters": return point.parameters / 1e6;
    default: return point.operations[byId("operation").value] ?? 0;
  }
}

function shades() {
  const values = map.items.map(valueOf), known = values.filter((value) => value !== null);
  const label = { dataset: "searched on", origin: "origin", accuracy: `accuracy on ${map.accuracy_dataset ?? "no data set"} (%)`, parameters: "parameters (M)", operation: `share of ${byId("operation").value}` }[byId("colour").value];
  const key = (colour, text) => { const mark = el("span", { "aria-hidden": "true" }, "● "); mark.style.color = colour; return el("span", {}, mark, text); };
  if (known.some((value) => typeof value === "string")) {
    const names = [...new Set(known)].sort(), colour = (value) => (value === null ? UNKNOWN : PALETTE[names.indexOf(value) % PALETTE.length]);
    legend.replaceChildren(el("strong", {}, label), ...names.map((name) => key(colour(name), name)), values.includes(null) ? key(UNKNOWN, "not told") : "");
    return values.map(colour);
  }
  const [low, high] = known.reduce(([a, b], value) => [Math.min(a, value), Math.max(b, value)], [Infinity, -Infinity]);
  legend.replaceChildren(el("strong", {}, label), ...(known.length ? [0, 0.25, 0.5, 0.75, 1].map((share) => key(scale(share), figure(low + share * (high - low)))) : ["is not known of any point"]), values.includes(null) && known.length ? key(UNKNOWN, "not known") : "");
  return values.map((value) => (value === null ? UNKNOWN : scale(high > low ? (value - low) / (high - low) : 0.5)));
}

function span(values) {
  const [low, high] = values.reduce(([a, b], value) => [Math.min(a, value), Math.max(b, value)], [Infinity, -Infinity]);
  const room = 0.06 * (high - low || 1);
  return [low - room, high + room];
}

function axis(number) {
  const name = map.method === "pca" ? `PC${number + 1}` : `t-SNE ${number + 1}`;
  return map.explained_variance ? `${name} (${Math.round(100 * map.explained_variance[number])} % of the variance)` : name;
}

function traces() {
  const { text } = pageColours(), lines = { x: [], y: [] };
  for (const point of map.items) {
    const start = index.get(point.start_genotype_id);
    if (start) { lines.x.push(start.x, point.x, null); lines.y.push(start.y, point.y, null); }
  }
  const best = map.items.filter((point) => point.best_on.length);
  const made = [{ type: "scatter", mode: "lines", ...lines, line: { color: UNKNOWN, width: 1 }, hoverinfo: "skip" },
    { type: "scatter", mode: "markers+text", x: best.map((p) => p.x), y: best.map((p) => p.y), text: best.map((p) => `best on ${p.best_on.join(", ")}`), textposition: "top center", marker: { symbol: "star", size: 15, color: "rgba(0,0,0,0)", line: { color: text, width: 1.5 } }, textfont: { size: 11 }, hoverinfo: "skip" }];
  if (chosen) made.push({ type: "scatter", mode: "markers", x: [chosen.x], y: [chosen.y], marker: { symbol: "circle-open", size: 20, color: "#d55e00", line: { width: 3 } }, hoverinfo: "skip" });
  return made;
}

async function show(fresh) {
  if (fresh || !ranges) ranges = { x: span(map.items.map((p) => p.x)), y: span(map.items.map((p) => p.y)) };
  const many = map.items.length > 2000;
  points.set(map.items.map((p) => p.x), map.items.map((p) => p.y), shades(), map.items.map((p) => (p === chosen ? 14 : many ? 6 : 10)), map.items.map((p) => SHAPES[p.origin] ?? 0));
  const layout = { margin: MARGINS, showlegend: false, dragmode: "pan", hovermode: false, xaxis: { range: [...ranges.x], title: { text: axis(0) }, automargin: false }, yaxis: { range: [...ranges.y], title: { text: axis(1) }, automargin: false } };
  points.draw(ranges.x, ranges.y);
  await draw(chart, traces(), layout, "map");
  if (!chart.dataset.follows) {
    chart.dataset.follows = "yes";
    for (const kind of ["plotly_relayouting", "plotly_relayout"]) chart.on(kind, moved);
  }
  byId("map-page").dataset.drawn = map.items.length;
}

function moved(change) {
  for (const name of ["x", "y"]) {
    const low = change[`${name}axis.range[0]`], high = change[`${name}axis.range[1]`];
    if (low !== undefined) ranges[name] = [low, high];
    if (change[`${name}axis.range`]) ranges[name] = [...change[`${name}axis.range`]];
    if (change[`${name}axis.autorange`]) ranges[name] = span(map.items.map((p) => p[name]));
  }
  points.draw(ranges.x, ranges.y);
}

async function load(fresh = true) {
  const asked = new URLSearchParams({ method: byId("method").value, generated: byId("generated").checked });
  if (byId("dataset").value) asked.set("dataset_id", byId("dataset").value);
  const path = `/v1/latent-spaces/${space}/map`;
  byId("map-note").replaceChildren("The map is being drawn …");
  try {
    map = await get(`${path}?${asked}`);
  } catch (error) {
    byId("map-note").replaceChildren(problem(error));
    return;
  }
  index = new Map(map.items.map((point) => [point.genotype_id, point]));
  chosen = chosen && index.get(chosen.genotype_id);
  const apart = map.silhouette === null ? "" : ` Silhouette by data set ${figure(map.silhouette)}, on a scale of -1 to 1.`;
  byId("map-note").replaceChildren(`${count(map.items.length)} points.${apart}`, warningList(map.warnings) ?? "");
  remember();
  await show(fresh);
}

function remember() {
  const asked = new URLSearchParams();
  for (const [name, usual] of Object.entries(FIELDS)) if (byId(name).value !== usual && (name !== "operation" || byId("colour").value === "operation")) asked.set(name, byId(name).value);
  if (!byId("generated").checked) asked.set("generated", "false");
  if (chosen) asked.set("point", chosen.genotype_id);
  history.replaceState(null, "", asked.size ? `?${asked}` : location.pathname);
  const picture = new URLSearchParams({ method: byId("method").value, generated: byId("generated").checked, colour: byId("colour").value, operation: byId("operation").value });
  if (byId("dataset").value) picture.set("dataset_id", byId("dataset").value);
  for (const format of ["svg", "png", "json"]) byId(`as-${format}`).href = `/v1/latent-spaces/${space}/map?${picture}&format=${format}`;
}

function titled(point) {
  return point.name ?? `${point.origin} …${point.genotype_id.slice(-6)}`;
}

async function choose(point) {
  chosen = point;
  remember();
  show(false);
  byId("near").hidden = false;
  byId("point").replaceChildren(el("h2", {}, el("a", { href: `/genotypes/${point.genotype_id}` }, titled(point))), el("img", { class: "cells", src: `/v1/genotypes/${point.genotype_id}/cells.svg`, alt: `Cells of ${titled(point)}` }),
    el("p", {}, `${point.origin}${point.dataset ? `, searched on ${point.dataset}` : ""}; ${short(point.parameters)} parameters${point.accuracy === null ? "" : `; ${figure(point.accuracy)} % on ${map.accuracy_dataset}`}${point.best_on.length ? `; best on ${point.best_on.join(", ")}` : ""}.`));
}

async function generate(body, container) {
  container.replaceChildren(el("p", {}, "Decoding …"));
  try {
    const answer = await post(`/v1/latent-spaces/${space}/generate`, body);
    const list = answer.items.map((item) => el("li", {}, el("a", { href: `/genotypes/${item.id}` }, nameOf(item)), `, ${short(item.parameters)} parameters`));
    container.replaceChildren(el("h2", {}, `${answer.items.length} new`), warningList(answer.warnings) ?? "", el("ol", { id: "new" }, list));
    byId("generated").checked = true;
    await load(false);
  } catch (error) {
    container.replaceChildren(problem(error));
  }
}

async function showMeaning() {
  const meaning = await get(`/v1/latent-spaces/${space}/meaning`);
  const names = [...new Set(meaning.items.flatMap((item) => Object.keys(item.correlations)))];
  byId("meaning").replaceChildren(el("p", {}, `Correlations over ${count(meaning.members)} members; near 0 a direction says nothing of it.`), el("table", {}, el("thead", {}, el("tr", {}, el("th", {}, "Property"), meaning.items.map((item, i) => el("th", { class: "n" }, `PC${i + 1} (${Math.round(100 * item.explained_variance)} %)`)))),
    el("tbody", {}, names.map((name) => el("tr", {}, el("th", { scope: "row" }, name.replace("accuracy:", "accuracy on ")), meaning.items.map((item) => el("td", { class: "n" }, figure(item.correlations[name]))))))));
}

// hovering and choosing

function placeOf(event) {
  const box = frame.getBoundingClientRect();
  return [event.clientX - box.left, event.clientY - box.top];
}

let pressed = null;
frame.addEventListener("pointerdown", (event) => { pressed = placeOf(event); }, true);
addEventListener("pointerup", (event) => {
  if (!pressed) return;
  const [x, y] = placeOf(event), still = Math.hypot(x - pressed[0], y - pressed[1]) < 4;
  pressed = null;
  const at = still ? points.at(x, y) : -1;
  if (at >= 0) choose(map.items[at]);
}, true);
frame.addEventListener("pointermove", (event) => {
  const [x, y] = placeOf(event), at = event.buttons ? -1 : points.at(x, y), point = map.items[at];
  hover.hidden = at < 0;
  if (!point || hover.dataset.point === point.genotype_id) return;
  hover.dataset.point = point.genotype_id;
  hover.replaceChildren(el("strong", {}, titled(point)), el("img", { src: `/v1/genotypes/${point.genotype_id}/cells.svg`, alt: "" }), el("div", {}, `${short(point.parameters)} parameters${point.accuracy === null ? "" : `, ${figure(point.accuracy)} % on ${map.accuracy_dataset}`}`));
  Object.assign(hover.style, { left: `${Math.min(x + 16, frame.clientWidth - 250)}px`, top: `${Math.max(0, Math.min(y + 16, frame.clientHeight - 330))}px` });
});
frame.addEventListener("pointerleave", () => { hover.hidden = true; });

byId("find").addEventListener("input", ({ target }) => {
  const text = target.value.toLowerCase();
  const found = text ? map.items.filter((point) => titled(point).toLowerCase().includes(text) || point.genotype_id.toLowerCase() === text).slice(0, 20) : [];
  byId("points").replaceChildren(...found.map((point) => el("option", { value: titled(point) })));
  const one = found.find((point) => titled(point).toLowerCase() === text) ?? (found.length === 1 ? found[0] : null);
  if (one) choose(one);
});

byId("near").addEventListener("submit", (event) => {
  event.preventDefault();
  generate({ near: { genotype_id: chosen.genotype_id }, gamma: Number(byId("gamma").value), count: Number(byId("count").value), seed: Math.floor(Math.random() * 2 ** 31) }, byId("made"));
});
byId("between").addEventListener("submit", (event) => {
  event.preventDefault();
  generate({ between: { dataset_ids: [byId("first").value, byId("second").value], steps: Number(byId("steps").value) }, gamma: 0, count: Number(byId("steps").value) }, byId("made"));
});
byId("gamma").addEventListener("input", () => { byId("gamma-shown").textContent = figure(Number(byId("gamma").value)); });
for (const id of ["method", "generated"]) byId(id).addEventListener("change", () => load());
byId("dataset").addEventListener("change", () => load(false));
for (const id of ["colour", "operation"]) byId(id).addEventListener("change", () => { remember(); show(false); });
byId("view").addEventListener("submit", (event) => event.preventDefault());
addEventListener("theme", () => show(false));
new ResizeObserver(() => { if (ranges) points.draw(ranges.x, ranges.y); }).observe(frame);

const asked = new URLSearchParams(location.search);
for (const [name] of Object.entries(FIELDS)) if (asked.get(name)) byId(name).value = asked.get(name);
if (asked.get("generated") === "false") byId("generated").checked = false;
byId("gamma").value = gamma;
byId("gamma-shown").textContent = figure(Number(gamma));
await load();
const wanted = index.get(asked.get("point"));
if (wanted) choose(wanted);
showMeaning().catch((error) => byId("meaning").replaceChildren(problem(error)));
