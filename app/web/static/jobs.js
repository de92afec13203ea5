// The list of jobs as it changes.
import { byId, duration, el, follow, isOver, post, problem } from "./api.js";

const table = byId("jobs");

function act(job, what, label) {
  return el("button", { type: "button", onclick: async (event) => {
    event.target.disabled = true;
    try { await post(`/v1/jobs/${job.id}/${what}`); } catch (error) { event.target.after(problem(error)); }
  } }, label);
}

function row(job) {
  const left = job.status === "running" ? duration(job.eta_seconds) : job.status === "queued" ? `${job.queue_position} before` : "";
  return el("tr", { "data-job": job.id },
    el("td", {}, el("a", { href: `/jobs/${job.id}` }, job.kind)), el("td", {}, el("span", { class: `status ${job.status}` }, job.status)),
    el("td", {}, el("progress", { max: 1, value: job.progress, "aria-label": "Progress" })), el("td", {}, job.step), el("td", { class: "n" }, left),
    el("td", {}, job.created_at.slice(0, 16).replace("T", " ")),
    el("td", {}, isOver(job) ? (job.status === "succeeded" ? "" : act(job, "retry", "Retry")) : job.cancel_requested ? "stopping" : act(job, "cancel", "Cancel")));
}

if (table.hasAttribute("data-live")) {
  follow("/jobs/live", (_type, jobs) => {
    // a button that has the focus is not taken away from under the fingers
    const held = document.activeElement?.closest("tr")?.dataset.job;
    table.tBodies[0].replaceChildren(...jobs.map(row));
    if (held) table.querySelector(`tr[data-job="${held}"] button`)?.focus();
    const none = byId("no-jobs");
    if (none) none.hidden = jobs.length > 0;
  });
}
