// The table, chart and verdicts of an experiment, as they come.
import { count, el, figure, get, isOver, problem, save, watch } from "./api.js";
import { draw, PALETTE } from "./charts.js";

async function trainingsOf(id) {
  const items = [];
  let cursor = null;
  do {
    const page = await get(`/v1/trainings?experiment_id=${id}&expand=evaluation,genotype&limit=200${cursor ? `&cursor=${cursor}` : ""}`);
    items.push(...page.items);
    cursor = page.next_cursor;
  } while (cursor);
  return items.reverse();
}

function tableOf(table) {
  const heads = ["Arm", "Data set", "n", "Open", "Mean ± SD (%)", "Best (%)", "By validation (%)", "Parameters", "Verdict"];
  const rows = table.items.map((row) => el("tr", {},
    el("td", {}, row.arm), el("td", {}, row.dataset), el("td", { class: "n" }, `${row.n}`), el("td", { class: "n" }, `${row.open}`),
    el("td", { class: "n" }, row.mean_accuracy === null ? "–" : `${figure(row.mean_accuracy)}${row.sd_accuracy === null ? "" : ` ± ${figure(row.sd_accuracy)}`}`),
    el("td", { class: "n" }, figure(row.best_accuracy)), el("td", { class: "n" }, figure(row.mean_selected_accuracy)),
    el("td", { class: "n" }, row.mean_params === null ? "–" : count(Math.round(row.mean_params))), el("td", {}, row.verdicts)));
  const right = ["n", "Open", "Mean ± SD (%)", "Best (%)", "By validation (%)", "Parameters"];
  return el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Arms" },
    el("table", { id: "arms" }, el("thead", {}, el("tr", {}, heads.map((head) => el("th", right.includes(head) ? { class: "n" } : {}, head)))), el("tbody", {}, rows)));
}

function chartOf(element, table, trainings, chance) {
  const arms = [...new Set(table.items.map((row) => row.arm))];
  const done = trainings.filter((training) => training.evaluation);
  const traces = arms.map((arm, i) => {
    const ours = done.filter((training) => training.arm === arm);
    return { type: "box", boxpoints: "all", jitter: 0.4, pointpos: 0, name: arm, x: ours.map(() => arm), y: ours.map((t) => t.evaluation.test_accuracy), text: ours.map((t) => `${t.genotype_id ? t.genotype?.name ?? t.genotype.digest.slice(0, 8) : t.reference}, seed ${t.seed}`), marker: { color: PALETTE[i % PALETTE.length], size: 8 }, line: { width: 1 }, fillcolor: "rgba(0,0,0,0)", hovertemplate: "%{text}<br>%{y:.2f} %<extra></extra>" };
  });
  const line = { type: "line", xref: "paper", x0: 0, x1: 1, y0: chance, y1: chance, line: { dash: "dot", color: "#8a8a8a" } };
  const note = { xref: "paper", x: 1, xanchor: "right", y: chance, yanchor: "bottom", showarrow: false, text: `chance ${figure(chance, 1)} %` };
  // far below, its line would press the differences between arms flat: then words tell of it
  const accuracies = done.map((training) => training.evaluation.test_accuracy);
  const spread = Math.max(1, Math.max(...accuracies) - Math.min(...accuracies));
  const isFar = Math.min(...accuracies) - chance > 3 * spread;
  if (isFar) Object.assign(note, { yref: "paper", y: 0, text: `${note.text}, far below` });
  return draw(element, traces, { title: { text: `n = ${done.length} trainings, test accuracy of the best epoch`, font: { size: 13 } }, showlegend: false, shapes: isFar ? [] : [line], annotations: [note], yaxis: { title: { text: "Test accuracy (%)" } } }, "comparison");
}

function eachOf(trainings) {
  const chosen = (training) => training.evaluation?.validation_accuracy ?? training.evaluation?.test_accuracy ?? -1;
  const done = trainings.filter((training) => training.evaluation && training.genotype_id).sort((a, b) => chosen(b) - chosen(a));
  const best = done[0];
  const rows = done.map((training) => el("tr", {},
    el("td", {}, el("a", { href: `/genotypes/${training.genotype_id}` }, training.genotype.name ?? `cells ${training.genotype.digest.slice(0, 8)}`), training === best ? " (best by validation)" : ""),
    el("td", {}, training.arm ?? ""), el("td", { class: "n" }, `${training.seed}`), el("td", { class: "n" }, el("a", { href: `/evaluations/${training.evaluation.id}` }, figure(training.evaluation.test_accuracy))),
    el("td", { class: "n" }, count(training.evaluation.parameters))));
  return { best, table: el("table", { id: "each" }, el("thead", {}, el("tr", {}, ["Architecture", "Arm"].map((head) => el("th", {}, head)), ["Seed", "Accuracy (%)", "Parameters"].map((head) => el("th", { class: "n" }, head)))), el("tbody", {}, rows)) };
}

// Shows an experiment in a container, and again with every training that ends; `isWanted` says whether still.
export async function showComparison(container, id, isWanted = () => true) {
  const state = el("p", { role: "status" });
  const chart = el("div", { class: "chart", role: "group", "aria-label": "Accuracies by arm" });
  const words = el("div"), table = el("div"), each = el("div");
  container.replaceChildren(state, words, table, chart, each);
  const experiment = await get(`/v1/experiments/${id}`);
  const dataset = await get(`/v1/datasets/${experiment.dataset_ids[0]}`);
  let seen = -1;
  async function refresh(job) {
    const [figures, trainings] = await Promise.all([get(`/v1/experiments/${id}/table`), trainingsOf(id)]);
    if (!isWanted()) return;
    table.replaceChildren(tableOf(figures));
    const said = figures.verdicts.filter((verdict) => verdict.difference !== null).map((verdict) => {
      const range = verdict.interval ? ` [${figure(verdict.interval[0])}, ${figure(verdict.interval[1])}]` : "";
      const more = verdict.verdict === "cannot tell" && verdict.trainings_needed ? `; about ${count(verdict.trainings_needed)} trainings of each would tell` : "";
      const judged = verdict.verdict === "cannot tell" ? `cannot be told from` : `is ${verdict.verdict} than`;
      return el("p", { class: "verdict" }, el("strong", {}, verdict.arm), ` ${judged} ${verdict.other}: ${figure(verdict.difference)} points${range}${more}.`);
    });
    words.replaceChildren(...said);
    const { best, table: list } = eachOf(trainings);
    const parts = best ? [el("h3", {}, "Each architecture"), list] : [];
    if (best && isOver(job)) {
      const button = el("button", { type: "button", class: "primary", id: "download-best", onclick: async () => {
        button.disabled = true;
        button.textContent = "The model is being packed …";
        try { await save(`/v1/trainings/${best.id}/model.zip`, "best-model.zip"); button.textContent = "Download best model"; } catch (error) { button.after(problem(error)); }
        button.disabled = false;
      } }, "Download best model");
      parts.unshift(el("p", { class: "row" }, button, el("a", { href: `/experiments/${id}` }, "The whole experiment"), el("a", { href: `/v1/experiments/${id}/table?format=csv`, download: "table.csv" }, "CSV")));
    }
    each.replaceChildren(...parts);
    chart.hidden = !trainings.some((training) => training.evaluation);
    if (!chart.hidden) await chartOf(chart, figures, trainings, 100 / dataset.classes);
  }
  let running = Promise.resolve();
  const job = await watch(experiment.job_id, (now) => {
    if (!isWanted()) throw Object.assign(new Error("left"), { status: 499 });
    state.textContent = isOver(now) ? `${now.status}.` : `${now.status}: ${Math.round(100 * now.progress)} %. ${now.step} ${now.eta_seconds ? `About ${Math.ceil(now.eta_seconds / 60)} min left.` : ""}`;
    const mark = now.progress + (isOver(now) ? 2 : 0);
    if (mark !== seen) { seen = mark; running = running.then(() => refresh(now)).catch((error) => { state.textContent = error.message; }); }
  }).catch((error) => { if (error.status !== 499) state.textContent = error.message; });
  await running;
  return job;
}
