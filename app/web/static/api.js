// Calls of the service: problems as errors, jobs until they are over, events as they come.

const token = document.querySelector('meta[name="csrf-token"]')?.content ?? "";

export class Problem extends Error {
  constructor(status, body) {
    super(body?.detail ?? `the service answered ${status}`);
    this.status = status;
    this.fields = (body?.errors ?? []).map((error) => error.field);
  }
}

export function headers(more = {}) {
  return token ? { "x-csrf-token": token, ...more } : more;
}

async function answered(response) {
  if (response.ok) return response;
  if (response.status === 401) location.assign(`/login?next=${encodeURIComponent(location.pathname + location.search)}`);
  throw new Problem(response.status, await response.json().catch(() => null));
}

async function send(path, options) {
  try {
    return await answered(await fetch(path, options));
  } catch (error) {
    if (error instanceof TypeError) throw new Problem(0, { detail: "the service does not answer; try again when it is back" });
    throw error;
  }
}

export async function get(path) {
  return (await send(path, { headers: headers() })).json();
}

export async function post(path, body) {
  const given = body === undefined ? {} : { "content-type": "application/json" };
  const response = await send(path, { method: "POST", headers: headers({ ...given, "idempotency-key": crypto.randomUUID?.() ?? `${Math.random()}` }), body: body === undefined ? undefined : JSON.stringify(body) });
  return response.status === 204 ? null : response.json();
}

export const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

const OVER = ["succeeded", "failed", "cancelled"];
export const isOver = (job) => OVER.includes(job.status);

// A job each time it was asked for, until it is over; a service that is away for a while is waited for.
export async function watch(id, show) {
  for (;;) {
    try {
      const job = await get(`/v1/jobs/${id}`);
      show(job);
      if (isOver(job)) return job;
    } catch (error) {
      if (error.status && error.status < 500 && error.status !== 429) throw error;
    }
    await pause(1500);
  }
}

// What a GET answers at once, or else after the job that makes it.
export async function made(path) {
  for (;;) {
    const response = await send(path, { headers: headers() });
    if (response.status !== 202) return response;
    const job = await watch((await response.json()).id, () => {});
    if (job.status !== "succeeded") throw new Problem(500, job.error);
  }
}

// Server-sent events of a path; connects again after `last` when the service was away.
export async function follow(path, onEvent, isDone = () => false) {
  let last = "";
  while (!isDone()) {
    try {
      const response = await send(path, { headers: headers({ accept: "text/event-stream", ...(last ? { "last-event-id": last } : {}) }) });
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      let rest = "";
      for (;;) {
        const { value, done } = await reader.read();
        if (done) break;
        const parts = (rest + value).split(/\r?\n\r?\n/);
        rest = parts.pop();
        for (const part of parts) {
          const fields = Object.fromEntries(part.split(/\r?\n/).filter((line) => line && !line.startsWith(":")).map((line) => { const at = line.indexOf(":"); return [line.slice(0, at), line.slice(at + 1).trim()]; }));
          if (fields.id) last = fields.id;
          if (fields.data) onEvent(fields.event ?? "message", JSON.parse(fields.data));
        }
      }
    } catch (error) {
      if (error.status && error.status < 500 && error.status !== 429) throw error;
    }
    if (!isDone()) await pause(1000);
  }
}

// An element: tag, attributes or listeners, and children, which are text unless they are elements.
export function el(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === false || value === null || value === undefined) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

// Puts children in the place of those that an element has; nothing in the place of nothing.
export const fill = (element, ...children) => element.replaceChildren(...children.filter((child) => child !== null && child !== undefined));

export const byId = (id) => document.getElementById(id);
export const count = (value) => (value === null || value === undefined ? "–" : value.toLocaleString("en"));
export const figure = (value, places = 2) => (value === null || value === undefined ? "–" : value.toFixed(places));

export function short(value) {
  if (value === null || value === undefined) return "–";
  for (const [limit, unit] of [[1e9, "G"], [1e6, "M"], [1e3, "k"]]) if (Math.abs(value) >= limit) return `${Number((value / limit).toPrecision(3))} ${unit}`;
  return `${Number(value.toPrecision(3))}`;
}

export function duration(seconds) {
  if (seconds === null || seconds === undefined) return "";
  if (seconds < 90) return `${Math.max(1, Math.round(seconds))} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  return `${(seconds / 3600).toFixed(1)} h`;
}

export const nameOf = (genotype) => genotype.name ?? `cells ${genotype.digest.slice(0, 8)}`;
export const warningList = (items) => (items?.length ? el("ul", { class: "warnings", "aria-label": "Warnings" }, items.map((text) => el("li", {}, text))) : null);
export const problem = (error) => el("p", { class: "problem", role: "alert" }, error.message);

export async function save(path, name) {
  const blob = await (await made(path)).blob();
  download(blob, name);
}

export function download(blob, name) {
  const link = el("a", { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}
