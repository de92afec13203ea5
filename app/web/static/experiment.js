// An experiment's page: its comparison, and the picture anew when it is over.
import { byId, problem } from "./api.js";
import { showComparison } from "./comparison.js";

const container = byId("comparison");
showComparison(container, container.dataset.experiment)
  .then(async () => { byId("picture").src = URL.createObjectURL(await (await fetch(byId("picture").src)).blob()); })
  .catch((error) => container.replaceChildren(problem(error)));
