// The page of one deployment: its VMs over time, history, operations.
import { html, nothing } from "./vendor/lit-html/lit-html.js";
import { badge, mark } from "./states.js";
import { name } from "./text.js";
import { link, operationLink, vmLink } from "./route.js";
import { at, copied, deploymentName, facts, fetched, notice, operationName, panel, short, text, time } from "./parts.js";
import { rangeChoice, spans, timeline } from "./timeline.js";
import { deploymentFlags, mix } from "./view_lists.js";
import { progress } from "./progress.js";
import { ledger } from "./histories.js";
import { get, path } from "./api.js";

const HISTORY = 200;
const DEPLOYMENT_HISTORY = 1_000;
const LANES = 60;
const OPERATIONS = 50;

export function deploymentView(app) {
  const { source, id } = app.route.asked;
  const known = app.fleet.deployments.get(`${source}\u0000${id}`);
  const version = app.fleet.allVms().reduce((sum, vm) => (vm.deployment === id && vm.source === source ? sum + vm.sequence + 1 : sum), known?.sequence ?? 0);
  const entry = app.cache.get(`deployment ${source} ${id}`, () => readDeployment(source, id ?? ""), version);
  return html`<div class="page">${fetched(entry, "the deployment", (found) => deploymentPage(app, found))}</div>`;
}

async function readDeployment(source, id) {
  const [deployment, history, operations] = await Promise.all([
    get(path("deployments", source, id)),
    get("transitions", { source, deployment: id, order: "newest", limit: DEPLOYMENT_HISTORY }),
    get("operations", { source, deployment: id, order: "newest", limit: OPERATIONS }),
  ]);
  return { deployment, history, operations };
}

function deploymentPage(app, { deployment, history, operations }) {
  const vms = deployment.vms ?? [];
  const its = new Set([deployment.id, ...vms.map((vm) => vm.id)]);
  const entries = history.items.filter((one) => its.has(one.entity_id));
  const of = (id) => entries.filter((one) => one.entity_id === id);
  const end = (thing) => (thing.ended_at ? Date.parse(thing.ended_at) : app.now);
  const own = spans(of(deployment.id), end(deployment));
  const lanes = [
    { label: `deployment ${deploymentName(app.fleet, deployment.source, deployment.internal_deployment_id)}`, spans: own },
    ...vms.slice(0, LANES).map((vm) => ({ label: vm.vm_name, href: vmLink({ ...vm, name: vm.vm_name }), spans: spans(of(vm.id), end(vm)) })),
  ].filter((lane) => lane.spans.length);
  const counts = {};
  for (const vm of vms) counts[vm.state] = (counts[vm.state] ?? 0) + 1;
  return html`
    <header class="title">
      <p class="kind">Deployment on ${deployment.source}</p>
      <h1><bdi>${name(deployment.deployment_name || deployment.internal_deployment_id, 320)}</bdi></h1>
      <p class="lead state-now">${badge(deployment.state)} <span class="dim">since ${at(deployment.changed_at)}, ${time(deployment.changed_at, app.now)}</span>
        ${deploymentFlags(deployment)}</p>
    </header>
    ${panel("States over time", lanes.length
      ? timeline({ lanes, width: app.width - 32, now: app.now, asked: app.route.asked })
      : notice("No ledger entry is left", "They are past their retention.", nothing, "empty"), { more: rangeChoice(app.route.asked) })}
    ${vms.length > LANES ? html`<p class="hint">The first ${LANES} of ${vms.length} VMs are drawn.</p>` : nothing}
    <div class="columns">
      ${panel("VMs", vms.length ? html`<ul class="list">${vms.map((vm) => html`<li><a href=${vmLink({ ...vm, name: vm.vm_name })}>${mark(vm.state)}<span class="grow">${short(vm.vm_name)}</span></a>${badge(vm.state)}${time(vm.changed_at, app.now)}</li>`)}</ul>` : html`<p class="calm">None seen yet.</p>`, { more: mix(counts) })}
      <div>
        ${panel("What it is", facts([
          ["Internal id", copied(deployment.internal_deployment_id, "the internal id")], ["External id", copied(deployment.external_deployment_id, "the external id")],
          ["Tenant", text(deployment.tenant)], ["Incarnation", deployment.incarnation], ["ESC reports", deployment.reported_state],
          ["First seen", at(deployment.first_seen_at)], ["Ended", deployment.ended_at ? at(deployment.ended_at) : "no"],
          ["Resources", html`<a href=${link("resources", { source: deployment.source, deployment: deployment.internal_deployment_id })}>list</a>`],
        ]))}
        ${panel("Operations", operationList(app, operations.items), { more: html`<a class="count" href=${link("operations", { source: deployment.source, deployment: deployment.internal_deployment_id })}>${operations.next ? `the last ${OPERATIONS}, ` : ""}list</a>` })}
      </div>
    </div>
    ${panel("History", ledger({ items: entries.slice(0, HISTORY) }, app, true), { more: entries.length > HISTORY || history.next ? html`<span class="count">the last ${Math.min(HISTORY, entries.length)}</span>` : nothing })}`;
}

function operationList(app, items) {
  if (!items.length) return html`<p class="calm">None known.</p>`;
  return html`<ul class="list">${items.map((one) => html`<li><a href=${operationLink(one.source, one.transaction_id)}>${mark(one.state)}<span class="grow">${operationName(one.kind, one.transaction_id)}</span></a>${progress(one)}${time(one.first_seen_at, app.now)}</li>`)}</ul>`;
}
