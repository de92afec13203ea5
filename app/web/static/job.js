// One job as it goes on: progress, curves, cells, events.
import { byId, duration, el, follow, get, isOver, post, problem } from "./api.js";
import { draw, PALETTE } from "./charts.js";

const { job: id, kind } = byId("job").dataset;
const PAGES = { genotype: "genotypes", evaluation: "evaluations", experiment: "experiments", campaign: "campaigns", latent_space: "spaces" };
const series = {};
let job, drawing = false, more = false;

function show(now) {
  job = now;
  byId("status").replaceChildren(el("span", { class: `status ${job.status}` }, job.status));
  byId("progress").value = job.progress;
  byId("step").textContent = job.step;
  byId("attempt").textContent = job.attempt;
  byId("left").textContent = job.status === "running" && job.eta_seconds ? `about ${duration(job.eta_seconds)} left` : job.status === "queued" ? `${job.queue_position} before it` : "";
  byId("cancel").hidden = isOver(job) || job.cancel_requested;
  byId("retry").hidden = !["failed", "cancelled"].includes(job.status);
  byId("error").replaceChildren(...(job.error ? [problem(new Error(job.error.detail))] : []));
  byId("links").replaceChildren(...Object.entries(job.links).flatMap(([name, path]) => {
    const parts = path.split("/");
    return [el("a", { href: PAGES[name] ? `/${PAGES[name]}/${parts.at(-1)}` : path }, name.replaceAll("_", " ")), " "];
  }));
}

function note(event) {
  const { data } = event;
  const told = Object.entries(data).filter(([, value]) => typeof value !== "object").map(([name, value]) => `${name} ${typeof value === "number" && !Number.isInteger(value) ? Number(value.toPrecision(5)) : value}`).join(", ");
  byId("events").tBodies[0].prepend(el("tr", {}, el("td", { class: "n" }, `${event.number}`), el("td", {}, event.at.slice(11, 19)), el("td", {}, event.type), el("td", {}, told)));
  if (event.type === "started" && data.worker) byId("worker").textContent = data.worker;
  if (event.type !== "progress" || data.epoch === undefined) return;
  for (const [name, value] of Object.entries(data)) {
    if (typeof value !== "number" || !/loss|accuracy|total|positive|negative|kl|edge/.test(name)) continue;
    (series[name] ??= { x: [], y: [] }).x.push(data.epoch);
    series[name].y.push(value);
  }
  curves();
  if (kind === "search" && data.genotype) cells();
}

async function curves() {
  more = true;
  if (drawing || !Object.keys(series).length) return;
  drawing = true;
  while (more) {
    more = false;
    byId("no-curves").hidden = true;
    const traces = Object.entries(series).map(([name, { x, y }], i) => ({ type: "scatter", mode: "lines+markers", marker: { size: 4 }, name: name.replaceAll("_", " "), x: [...x], y: [...y], yaxis: /accuracy/.test(name) ? "y2" : "y", line: { color: PALETTE[i % PALETTE.length] } }));
    await draw(byId("curves"), traces, { xaxis: { title: { text: "Epoch" } }, yaxis: { title: { text: "Loss" } }, yaxis2: { title: { text: "Accuracy (%)" }, overlaying: "y", side: "right", showgrid: false, tickformat: ".1f" } }, `job-${kind}`).catch(() => {});
  }
  drawing = false;
}

async function cells() {
  if (!job?.links.search) return;
  const response = await fetch(`${job.links.search}/cells.svg`);
  if (!response.ok) return;
  const image = byId("cells").querySelector("img"), before = image.src;
  image.src = URL.createObjectURL(await response.blob());
  if (before.startsWith("blob:")) URL.revokeObjectURL(before);
  byId("cells").hidden = false;
}

async function act(what) {
  try {
    show(await post(`/v1/jobs/${id}/${what}`));
    if (what === "retry") location.reload();
  } catch (error) {
    byId("error").replaceChildren(problem(error));
  }
}

byId("cancel").addEventListener("click", () => act("cancel"));
byId("retry").addEventListener("click", () => act("retry"));

async function poll() {
  for (;;) {
    try {
      show(await get(`/v1/jobs/${id}${job && !isOver(job) ? "?wait=2" : ""}`));
      if (isOver(job)) return;
    } catch (error) {
      if (error.status && error.status < 500 && error.status !== 429) return byId("error").replaceChildren(problem(error));
    }
    await new Promise((resolve) => setTimeout(resolve, 1000));
  }
}

show(await get(`/v1/jobs/${id}`));
const polled = poll();
await follow(`/v1/jobs/${id}/events`, (_type, event) => note(event), () => isOver(job));
await polled;
