// What every page does: the theme, signing out, and saying what is away.
import { byId, headers, pause } from "./api.js";

byId("theme").addEventListener("click", () => {
  const root = document.documentElement;
  const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
  localStorage.setItem("theme", root.dataset.theme);
  dispatchEvent(new Event("theme"));
});

byId("logout")?.addEventListener("click", async () => {
  await fetch("/logout", { method: "POST", headers: headers() });
  location.assign("/login");
});

// forms of filters send no empty fields
for (const form of document.querySelectorAll('form[method="get"]')) {
  form.addEventListener("formdata", ({ formData }) => {
    for (const [name, value] of [...formData]) if (value === "") formData.delete(name);
  });
}

function say(text) {
  const banner = byId("banner");
  if (banner.textContent !== text) banner.textContent = text;
  banner.hidden = !text;
}

async function look() {
  let response;
  try {
    response = await fetch("/readyz");
  } catch {
    return "The service does not answer. This page goes on when it is back.";
  }
  if (!response.ok) {
    const body = await response.json().catch(() => null);
    return `The service is up but cannot work: ${body?.detail ?? `it answers ${response.status}`}. This page goes on when that is over.`;
  }
  const ready = await response.json();
  if (ready.warnings.length) return ready.warnings.join(" · ");
  return ready.workers ? "" : "No worker lives: jobs wait until one is started.";
}

(async () => {
  for (;;) {
    say(await look());
    await pause(document.hidden ? 15_000 : 4_000);
  }
})();
