// One operation and its story: how far it is, what it moved and when, its ledger entries and its callbacks.
import { html, nothing } from "./vendor/lit-html/lit-html.js";
import { badge } from "./states.js";
import { name, span } from "./text.js";
import { deploymentLink, vmLink } from "./route.js";
import { at, copied, deploymentName, facts, kindWords, fetched, notice, panel, text, toDeployment } from "./parts.js";
import { spans, timeline } from "./timeline.js";
import { callbackList, ledger } from "./histories.js";
import { pace, progress, progressFacts } from "./progress.js";
import { get, path } from "./api.js";

const ENTRIES = 500;
const CALLBACKS = 50;
const LANES = 60;
const OPEN = new Set(["OPEN", "OVERDUE"]);

export function operationView(app) {
  const { source, id } = app.route.asked;
  const known = [...app.fleet.operations.values()].find((one) => one.source === source && one.transaction_id === id);
  const version = known ? `${known.sequence} ${known.last_seen_at}` : 0;
  const entry = app.cache.get(`operation ${source} ${id}`, () => readOperation(source, id ?? ""), version);
  return html`<div class="page">${fetched(entry, "the operation", (found) => operationPage(app, found))}</div>`;
}

async function readOperation(source, id) {
  const [operation, history, callbacks] = await Promise.all([
    get(path("operations", source, id)),
    get("transitions", { source, operation: id, order: "newest", limit: ENTRIES }),
    get("callbacks", { source, transaction_id: id, order: "newest", limit: CALLBACKS }),
  ]);
  return { operation, history, callbacks };
}

function operationPage(app, { operation, history, callbacks }) {
  const open = OPEN.has(operation.state);
  const end = operation.ended_at ? Date.parse(operation.ended_at) : app.now;
  const lanes = lanesOf(app.fleet, history.items, end);
  return html`
    <header class="title">
      <p class="kind">Operation on ${operation.source}</p>
      <h1>${kindWords(operation.kind)} <small><bdi>${name(operation.transaction_id, 320)}</bdi></small></h1>
      <p class="lead state-now">${badge(operation.state)}
        <span class="dim">${open ? `for ${span((end - Date.parse(operation.first_seen_at)) / 1000)}` : `took ${span((end - Date.parse(operation.first_seen_at)) / 1000)}`}</span>
        ${progress(operation)} ${pace(operation, app.now)} ${operation.revised ? html`<span class="flag">revised</span>` : nothing}</p>
    </header>
    ${panel("What it moved, over time", lanes.length
      ? timeline({ lanes: lanes.slice(0, LANES), width: app.width - 32, now: app.now, asked: {} })
      : notice("It has moved nothing", "Or its ledger entries are past their retention.", nothing, "empty"))}
    ${lanes.length > LANES ? html`<p class="hint">The first ${LANES} of ${lanes.length} are drawn.</p>` : nothing}
    <div class="columns">
      ${panel("What it is", facts([
        ["Deployment", toDeployment(app.fleet, operation.source, operation.deployment)],
        ["Tenant", text(operation.tenant)], ["Reference", copied(operation.ref, "the reference")], ["Transaction", copied(operation.transaction_id, "the transaction id")],
        ["First seen", at(operation.first_seen_at)], ["Last heard of", at(operation.last_seen_at)], ["Ended", operation.ended_at ? at(operation.ended_at) : "no"],
        ["Usually takes", operation.usual_s == null ? "not known yet" : `${span(operation.usual_s)}, ${span(operation.longest_s)} at the longest`],
        ...(operation.due_at ? [["Overdue at", html`${at(operation.due_at)}, if nothing more is heard`]] : []),
        ["ESC says", said(operation)],
      ]))}
      ${panel("Progress", progressFacts(operation))}
    </div>
    ${panel("History", ledger(history, app, true), { more: history.next ? html`<span class="count">the last ${ENTRIES}</span>` : nothing })}
    ${panel("Callbacks", callbackList(app, callbacks), { more: callbacks.next ? html`<span class="count">the last ${CALLBACKS}</span>` : nothing })}`;
}

/** The status that ESC gave, and its text. */
const said = ({ status_code: status, status_message: message }) =>
  status === null && !message ? "nothing" : [status === null ? null : `status ${status}`, message && name(message, 300)].filter(Boolean).join(": ");

/** A lane for each deployment and VM that it moved, the deployment first. */
function lanesOf(fleet, entries, end) {
  const things = new Map();
  for (const one of entries) {
    if (one.entity !== "vm" && one.entity !== "deployment") continue;
    if (!things.has(one.entity_id)) things.set(one.entity_id, []);
    things.get(one.entity_id).push(one);
  }
  const lanes = [...things.values()].map((its) => {
    const { entity, source, deployment, name: label } = its[0];
    const href = entity === "vm" ? vmLink({ source, deployment, name: label }) : deploymentLink(source, label);
    return { label: entity === "vm" ? label : `deployment ${deploymentName(fleet, source, label)}`, href, first: entity !== "vm", spans: spans(its, Math.max(end, Date.parse(its[0].at))) };
  });
  return lanes.sort((a, b) => b.first - a.first || (a.label < b.label ? -1 : 1));
}
