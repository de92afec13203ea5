// Links to files that a job makes first: wait for it, then save.
import { problem, save } from "./api.js";

for (const link of document.querySelectorAll("a[data-made]")) {
  link.addEventListener("click", async (event) => {
    event.preventDefault();
    const text = link.textContent;
    link.textContent = `${text} is being made …`;
    try {
      await save(link.getAttribute("href"), link.dataset.made);
    } catch (error) {
      link.after(problem(error));
    }
    link.textContent = text;
  });
}
