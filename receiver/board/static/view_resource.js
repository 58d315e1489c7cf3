// The page of one resource: a tenant, network, image … with what ESC says of it and its ledger.
import { html, nothing } from "./vendor/lit-html/lit-html.js";
import { badge } from "./states.js";
import { name } from "./text.js";
import { at, copied, facts, fetched, notice, panel, text, time, toDeployment } from "./parts.js";
import { rangeChoice, spans, timeline } from "./timeline.js";
import { ledger } from "./histories.js";
import { get } from "./api.js";

const HISTORY = 200;

export function resourceView(app) {
  const { source, kind, id } = app.route.asked;
  const last = app.fleet.lastOf((one) => one.entity === "resource" && one.source === source);
  const entry = app.cache.get(`resource ${source} ${kind} ${id}`, () => readResource(source, kind, id), last?.id);
  return html`<div class="page">${fetched(entry, "the resource", (found) => (found ? resourcePage(app, found) : notice("Nothing is known of it", "The link may be wrong.", nothing, "empty")))}</div>`;
}

async function readResource(source, kind, id) {
  const [resource] = (await get("resources", { source, kind, resource_id: id, limit: 1 })).items;
  if (!resource) return null;
  return { resource, history: await get("transitions", { entity: "resource", entity_id: resource.id, order: "newest", limit: HISTORY }) };
}

function resourcePage(app, { resource, history }) {
  const end = resource.ended_at ? Date.parse(resource.ended_at) : app.now;
  const attributes = Object.entries(resource.attributes ?? {});
  return html`
    <header class="title">
      <p class="kind">${name(resource.kind, 40)} on ${resource.source}</p>
      <h1><bdi>${name(resource.name ?? resource.resource_id, 320)}</bdi></h1>
      <p class="lead state-now">${badge(resource.state)} <span class="dim">since ${at(resource.changed_at)}, ${time(resource.changed_at, app.now)}</span></p>
    </header>
    ${panel("State over time", history.items.length
      ? timeline({ lanes: [{ label: resource.resource_id, spans: spans(history.items, end) }], width: app.width - 32, now: app.now, asked: app.route.asked })
      : notice("No ledger entry is left", "They are past their retention.", nothing, "empty"), { more: rangeChoice(app.route.asked) })}
    <div class="columns">
      ${panel("What it is", facts([
        ["Id", copied(resource.resource_id, "the id")], ["External id", copied(resource.external_id, "the external id")], ["Tenant", text(resource.tenant)],
        ["Deployment", toDeployment(app.fleet, resource.source, resource.deployment)], ["First seen", at(resource.first_seen_at)],
        ["Ended", resource.ended_at ? at(resource.ended_at) : "no"], ["Ledger entries", resource.sequence],
      ]))}
      ${panel("What ESC says of it", attributes.length
        ? facts(attributes.map(([key, value]) => [name(key, 40), text(typeof value === "object" ? JSON.stringify(value) : String(value), 300)]))
        : html`<p class="calm">Nothing more.</p>`)}
    </div>
    ${panel("History", ledger(history, app), { more: history.next ? html`<span class="count">the last ${HISTORY}</span>` : nothing })}`;
}
