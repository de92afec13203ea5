// The three steps: images, architectures, comparison. The address says how far one is, so that it can be shared.
import { byId, count, duration, el, figure, fill, get, headers, post, problem, save, short, warningList, watch } from "./api.js";
import { showComparison } from "./comparison.js";
import { pack } from "./tar.js";

const WORDS = ["no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"];
const NO_LIMIT = Number(byId("most").max);
const shown = { dataset: "", proposal: "", experiment: "" };
let dataset, proposal, recipes, unranked = "";

function address(change) {
  const asked = new URLSearchParams(location.search);
  for (const [name, value] of Object.entries(change)) value ? asked.set(name, value) : asked.delete(name);
  const path = asked.size ? `/?${asked}` : "/";
  if (path !== location.pathname + location.search) history.pushState(null, "", path);
  return render();
}

async function render() {
  const asked = new URLSearchParams(location.search);
  const wanted = Object.fromEntries(Object.keys(shown).map((name) => [name, asked.get(name) ?? ""]));
  await step("dataset", wanted.dataset, showDataset, [byId("data"), byId("step-propose")], byId("data"));
  if (!wanted.dataset) return;
  await step("proposal", wanted.proposal, showProposal, [byId("proposal"), byId("step-compare")], byId("proposal"));
  if (!wanted.proposal) return;
  await step("experiment", wanted.experiment, (id) => showComparison(byId("comparison"), id, () => shown.experiment === id), [byId("comparison")], byId("comparison"));
}

async function step(name, value, show, hidden, container) {
  if (shown[name] === value) return;
  shown[name] = value;
  for (const element of hidden) element.hidden = !value;
  if (!value) return container.replaceChildren();
  try {
    await show(value);
  } catch (error) {
    shown[name] = "";
    container.replaceChildren(problem(error));
  }
}

// 1: images

function upload(archive, fallback) {
  const form = new FormData();
  const name = byId("name").value || fallback.toLowerCase().replace(/\.(zip|tar|tgz|tar\.gz)$/, "").replace(/[^a-z0-9._-]+/g, "-").replace(/^[^a-z0-9]+/, "").slice(0, 64) || "images";
  form.append("name", name);
  if (byId("size").value) form.append("image_size", byId("size").value);
  form.append("archive", archive, /\.(zip|tar|gz|tgz)$/.test(fallback) ? fallback : `${name}.tar`);
  const [bar, state] = [byId("upload-progress"), byId("upload-state")];
  bar.hidden = false;
  state.textContent = `${name}: sending ${short(archive.size)}B`;
  // fetch tells nothing of how much was sent
  const request = new XMLHttpRequest();
  request.open("POST", "/v1/datasets");
  for (const [key, value] of Object.entries(headers())) request.setRequestHeader(key, value);
  request.responseType = "json";
  request.upload.onprogress = (event) => { bar.value = event.loaded / event.total; if (event.loaded === event.total) state.textContent = `${name}: sent; the images are being read`; };
  request.onload = () => {
    bar.hidden = true;
    if (request.status >= 400) return state.replaceChildren(problem(new Error(request.response?.detail ?? `the service answered ${request.status}`)));
    state.textContent = `${name} is here.`;
    choose(request.response);
  };
  request.onerror = () => { bar.hidden = true; state.replaceChildren(problem(new Error("the service does not answer; try again when it is back"))); };
  request.send(form);
}

function choose(row) {
  const select = byId("dataset");
  if (![...select.options].some((option) => option.value === row.id)) select.add(new Option(`${row.name}: ${count(row.train_count)} images, ${row.classes} classes`, row.id));
  select.value = row.id;
  return address({ dataset: row.id, proposal: "", experiment: "" });
}

async function showDataset(id) {
  dataset = await get(`/v1/datasets/${id}`);
  byId("dataset").value = dataset.id;
  const thumbs = el("ul", { class: "thumbs", "aria-label": "Some of its images" });
  const near = el("div", {}, el("p", {}, "Distances to the known data sets are being measured …"));
  const account = dataset.account ?? { skipped: {}, converted: {}, warnings: [] };
  const files = (title, kinds) => Object.entries(kinds).map(([reason, { count: number, names }]) => el("li", {}, `${title} ${count(number)}: ${reason} (${names.slice(0, 3).join(", ")}${number > 3 ? ", …" : ""})`));
  const told = [...files("Skipped", account.skipped), ...files("Changed", account.converted)];
  const perClass = Object.entries(account.counts?.train ?? {});
  fill(byId("data"),
    el("h3", {}, el("a", { href: `/datasets/${id}` }, dataset.name)),
    el("p", {}, `${count(dataset.train_count)} training and ${count(dataset.test_count)} test images of ${dataset.classes} classes, ${dataset.channels} × ${dataset.image_size} × ${dataset.image_size}.`),
    perClass.length ? el("details", {}, el("summary", {}, "Images by class"), el("p", {}, perClass.map(([name, number]) => `${name} ${count(number)}`).join(", "))) : null,
    thumbs, told.length ? el("ul", {}, told) : null, warningList(account.warnings), near);
  get(`/v1/datasets/${id}/images?limit=16`).then(({ items }) => thumbs.replaceChildren(...items.map((item) => el("li", {}, el("img", { src: `data:image/png;base64,${item.png}`, alt: item.class_name, title: item.class_name }))))).catch((error) => thumbs.replaceWith(problem(error)));
  showNeighbors(id, near).catch((error) => near.replaceChildren(problem(error)));
  recipes = (await get(`/v1/recipes?dataset_id=${id}`)).items.filter((row) => row.kind === "training");
  const select = byId("recipe");
  select.replaceChildren(...recipes.map((row) => new Option(row.name, row.name)));
  select.value = select.dataset.default;
}

async function showNeighbors(id, container) {
  let answer = await get(`/v1/datasets/${id}/neighbors`);
  if (!answer.items) {
    await watch(answer.id, () => {});
    answer = await get(`/v1/datasets/${id}/neighbors`);
  }
  const nearest = answer.items.filter((row) => row.distance !== null).slice(0, 5);
  const best = await Promise.all(nearest.map((row) => get(`/v1/datasets/${row.dataset_id}/leaderboard?limit=1`)));
  if (shown.dataset !== id) return;
  container.replaceChildren(el("h3", {}, "Nearest known data sets"), nearest.length ? el("table", { id: "neighbors" },
    el("thead", {}, el("tr", {}, el("th", {}, "Data set"), el("th", { class: "n" }, "Distance"), el("th", {}, "Best point"))),
    el("tbody", {}, nearest.map((row, i) => el("tr", {}, el("td", {}, row.name), el("td", { class: "n" }, figure(row.distance, 1)), el("td", {}, best[i].items.length ? `${best[i].items[0].genotype_name ?? best[i].items[0].reference ?? "cells"}, ${figure(best[i].items[0].test_accuracy)} %` : "none yet"))))) : el("p", {}, "None can be measured."));
}

// 2: architectures

function most() {
  const value = Number(byId("most").value);
  return value >= NO_LIMIT ? null : Math.round(10 ** value);
}

function showSliders() {
  const number = Number(byId("count").value);
  byId("most-shown").textContent = most() === null ? "no limit" : short(most());
  if (byId("gamma").dataset.moved) byId("gamma-shown").textContent = figure(Number(byId("gamma").value));
  byId("count-shown").textContent = WORDS[number] ?? `${number}`;
}

// Ordered by predicted accuracy where the store tells one; why not, where it does not.
async function ranked(body) {
  unranked = "";
  try {
    return await post("/v1/proposals", { ...body, rank: { by: "accuracy" } });
  } catch (error) {
    if (error.status !== 422 || !error.fields.every((field) => field.startsWith("rank"))) throw error;
    unranked = `not ordered by predicted accuracy: ${error.message.replace(/^rank\.by: /, "")}`;
    return post("/v1/proposals", body);
  }
}

async function propose(event) {
  event.preventDefault();
  const button = event.submitter ?? event.target.querySelector("button");
  button.disabled = true;
  byId("proposal").hidden = false;
  byId("proposal").replaceChildren(el("p", {}, "Decoding …"));
  try {
    const body = { dataset_id: shown.dataset, count: Number(byId("count").value) };
    if (byId("gamma").dataset.moved) body.gamma = Number(byId("gamma").value);
    if (most() !== null) body.limits = { parameters: { max: most() } };
    const made = await ranked(body);
    await address({ proposal: made.id, experiment: "" });
  } catch (error) {
    shown.proposal = "";
    byId("proposal").replaceChildren(problem(error));
  }
  button.disabled = false;
}

async function showProposal(id) {
  proposal = await get(`/v1/proposals/${id}`);
  const { start } = proposal;
  const cards = proposal.items.map((item, i) => el("li", { class: "card" },
    el("a", { href: `/genotypes/${item.genotype_id}?beside=${start.point.genotype_id}` }, el("img", { src: item.links.picture, alt: `Normal and reduction cell of architecture ${i + 1}` }), el("strong", {}, `Architecture ${i + 1}`)),
    el("span", {}, `${count(item.network.parameters)} parameters, ${short(item.network.macs)} MACs on your images`),
    el("span", {}, `${item.network.channels} channels, ${item.network.cells} cells; ${short(item.standard.parameters)} at the standard size`),
    el("span", {}, item.edits === null ? "" : `${item.edits} edit${item.edits === 1 ? "" : "s"} from the start`),
    item.predicted_accuracy === null ? null : el("span", {}, `predicted ${figure(item.predicted_accuracy)} ± ${figure(item.predicted_deviation)} %`),
    el("span", {}, el("a", { href: item.links.module, download: "module.py" }, "module.py"), " ", el("a", { href: item.links.onnx, onclick: (event) => { event.preventDefault(); save(item.links.onnx, "model.onnx").catch((error) => event.target.after(problem(error))); } }, "ONNX"), " ", el("a", { href: item.links.genotype }, "JSON"))));
  fill(byId("proposal"),
    el("p", {}, "Near ", el("a", { href: `/genotypes/${start.point.genotype_id}` }, start.genotype_name ?? "the best point"), ` of ${start.dataset}${start.point.test_accuracy === null ? "" : ` (${figure(start.point.test_accuracy)} %)`}: ${start.reason}. `, el("a", { href: `/spaces/${proposal.latent_space_id}?point=${start.point.genotype_id}` }, "See it on the map"), "."),
    warningList(unranked ? [...proposal.warnings, unranked] : proposal.warnings), el("ul", { class: "cards", id: "cards" }, cards));
  byId("recipe").value = proposal.recipe;
  showEstimate();
}

// 3: comparison

function showEstimate() {
  const recipe = recipes?.find((row) => row.name === byId("recipe").value), used = recipes?.find((row) => row.name === proposal?.recipe);
  if (!recipe || !used || !proposal) return;
  const epochs = Number(byId("epochs").value || recipe.settings.epochs) / recipe.settings.epochs;
  const each = proposal.items.reduce((sum, item) => sum + item.estimated_seconds, 0) / Math.max(1, proposal.items.length);
  const pace = (recipe.pace * recipe.minutes) / Math.max(used.minutes, 1e-6);
  const beside = { "": 0, random: proposal.items.length }[byId("reference").value] ?? 1;
  const seconds = each * pace * epochs * Number(byId("seeds").value || 1) * (proposal.items.length + beside);
  byId("estimate").textContent = `About ${duration(seconds)} for one worker${recipe.measured ? ", by the pace of this machine" : " with two cores, roughly"}.`;
}

async function compare(event) {
  event.preventDefault();
  const button = event.target.querySelector("button");
  button.disabled = true;
  try {
    const reference = byId("reference").value, arms = [];
    if (reference === "random") arms.push({ kind: "random", count: proposal.items.length });
    else if (reference) arms.push({ kind: "reference", model: reference });
    const body = { proposal_id: proposal.id, recipe: byId("recipe").value, arms, seeds: Array.from({ length: Number(byId("seeds").value || 1) }, (_, i) => 2024 + i) };
    if (byId("epochs").value) body.overrides = { epochs: Number(byId("epochs").value) };
    const job = await post("/v1/experiments", body);
    const id = job.links.experiment.split("/").pop();
    button.disabled = false;
    await address({ experiment: id });
  } catch (error) {
    byId("comparison").hidden = false;
    byId("comparison").replaceChildren(problem(error));
  }
  button.disabled = false;
}

// events

byId("archive").addEventListener("change", ({ target }) => { if (target.files[0]) upload(target.files[0], target.files[0].name); target.value = ""; });
byId("folder").addEventListener("change", ({ target }) => {
  try {
    if (target.files.length) upload(pack(target.files), target.files[0].webkitRelativePath.split("/")[0]);
  } catch (error) {
    byId("upload-state").replaceChildren(problem(error));
  }
  target.value = "";
});
const drop = byId("upload");
for (const kind of ["dragenter", "dragover"]) drop.addEventListener(kind, (event) => { event.preventDefault(); drop.classList.add("over"); });
for (const kind of ["dragleave", "drop"]) drop.addEventListener(kind, () => drop.classList.remove("over"));
drop.addEventListener("drop", (event) => { event.preventDefault(); const [file] = event.dataTransfer.files; if (file) upload(file, file.name); });
drop.addEventListener("submit", (event) => event.preventDefault());
byId("dataset").addEventListener("change", ({ target }) => address({ dataset: target.value, proposal: "", experiment: "" }));
byId("digits").addEventListener("click", async () => { try { await choose(await post("/v1/datasets", { name: "digits" })); } catch (error) { byId("upload-state").replaceChildren(problem(error)); } });
byId("gamma").addEventListener("input", () => { byId("gamma").dataset.moved = "yes"; });
for (const id of ["count", "most", "gamma"]) byId(id).addEventListener("input", showSliders);
for (const id of ["recipe", "epochs", "seeds", "reference"]) byId(id).addEventListener("input", showEstimate);
byId("propose").addEventListener("submit", propose);
byId("compare").addEventListener("submit", compare);
addEventListener("popstate", render);
showSliders();
render();
