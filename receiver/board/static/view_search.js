// The search over everything: what has a name or an id that begins with what was typed, and ways to look inside of names.
import { html, nothing } from "./vendor/lit-html/lit-html.js";
import { badge } from "./states.js";
import { name } from "./text.js";
import { change, deploymentLink, link, operationLink, read, resourceLink, vmLink } from "./route.js";
import { deploymentName, fetched, kindWords, notice, short, time } from "./parts.js";
import { get } from "./api.js";

const LIMIT = 50;
const MATCHED = {
  vm_name: "name", vm_uuid: "instance id", deployment_name: "name", internal_deployment_id: "internal id",
  external_deployment_id: "external id", transaction_id: "transaction id", ref: "reference", resource_id: "id",
  external_id: "external id", name: "name", receipt: "receipt",
};
const LISTS = [["deployments", "Deployments"], ["vms", "VMs"], ["operations", "Operations"], ["resources", "Resources"], ["feed", "Feed"], ["quarantine", "Dead letters"]];

/** The field in the bar at the top. */
export const searchField = (app) => html`
  <form class="everything" role="search" @submit=${(event) => event.preventDefault()}>
    <input type="search" id="everything" aria-label="Search everything" placeholder="Search name or id   /" autocomplete="off" spellcheck="false"
      .value=${app.route.view === "search" ? (app.route.asked.q ?? "") : ""} @input=${typed} @keydown=${chosen}>
  </form>`;

function typed(event) {
  const q = event.target.value;
  if (read().view === "search") change({ q });
  else if (q) location.hash = link("search", { q });
}

/** Enter opens the first that was found. */
function chosen(event) {
  if (event.key !== "Enter") return;
  document.querySelector(".found a")?.click();
}

/** `/` goes to the field, unless something is being typed. */
export function onSlash(event) {
  if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, select, textarea")) return;
  const field = document.getElementById("everything");
  if (!field) return;
  event.preventDefault();
  field.focus();
  field.select();
}

export function searchView(app) {
  const q = (app.route.asked.q ?? "").trim();
  return html`
    <h1>Search ${q ? html`<small><bdi>${name(q, 80)}</bdi></small>` : nothing}</h1>
    ${q ? fetched(app.cache.get(`search ${q}`, () => get("search", { q, limit: LIMIT })), "what was found", (answer) => results(app, answer))
      : notice("Search everything", "Names, instance ids, transaction ids, receipts, references, internal and external ids: how they begin is enough.", nothing, "empty")}
    ${q ? html`<p class="hint">Looked at were beginnings of names and ids. Look inside of them, too: ${LISTS.map(([view, label]) => html` <a class="chip" href=${link(view, { q, gone: ["deployments", "vms", "resources"].includes(view) ? "1" : "" })}>${label}</a>`)}</p>` : nothing}`;
}

function results(app, { items, more }) {
  if (!items.length) return notice("Nothing begins like this", "No name, instance id, transaction id, reference, internal or external id, and no receipt is this.", nothing, "empty");
  return html`<ul class="list panel found">${items.map((one) => html`<li>
      <a href=${where(one)}><span class="dim">${one.kind === "resource" ? name(one.label, 20) : one.kind}</span><span class="grow">${called(app, one)}</span></a>
      <span class="dim by">${MATCHED[one.matched] ?? one.matched}${one.value === one.name ? nothing : html` <code><bdi>${name(one.value, 44)}</bdi></code>`}</span>
      ${one.kind === "callback" ? html`<span class="flag">${one.state}</span>` : badge(one.state)}${time(one.at, app.now)}</li>`)}</ul>
    ${more ? html`<p class="hint">The first ${LIMIT} are shown; type more of it.</p>` : nothing}`;
}

function called(app, one) {
  if (one.kind === "deployment") return html`${short(app.fleet.deployments.has(`${one.source}\u0000${one.name}`) ? deploymentName(app.fleet, one.source, one.name) : (one.label ?? one.name))} <small>${short(one.name)}</small>`;
  if (one.kind === "operation") return html`${kindWords(one.label)} <code><bdi>${name(one.name, 44)}</bdi></code>`;
  if (one.kind === "callback") return html`${name(one.label, 40)} <code><bdi>${one.name}</bdi></code>`;
  return html`${short(one.name)} ${one.deployment ? html`<small>${short(deploymentName(app.fleet, one.source, one.deployment))}</small>` : nothing}`;
}

function where(one) {
  if (one.kind === "vm") return vmLink(one);
  if (one.kind === "deployment") return deploymentLink(one.source, one.name);
  if (one.kind === "operation") return operationLink(one.source, one.name);
  if (one.kind === "resource") return resourceLink({ source: one.source, kind: one.label, resource_id: one.name });
  return link("callback", { receipt: one.name });
}
