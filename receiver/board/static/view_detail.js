// One thing and its story: a VM (why, timeline, history, interfaces, incarnations, callbacks) or a deployment.
import { html, nothing } from "./vendor/lit-html/lit-html.js";
import { badge, mark } from "./states.js";
import { clock, name, span } from "./text.js";
import { deploymentLink, link, operationLink, vmLink } from "./route.js";
import { at, code, deploymentName, facts, fetched, move, notice, panel, text, time } from "./parts.js";
import { rangeChoice, spans, timeline } from "./timeline.js";
import { bytesOf } from "./view_happened.js";
import { deploymentFlags, mix, vmFlags } from "./view_lists.js";
import { progress } from "./view_fleet.js";
import { get, path } from "./api.js";

const HISTORY = 200;
const DEPLOYMENT_HISTORY = 1_000;
const CALLBACKS = 30;
const LANES = 60;

export function vmView(app) {
  const { source, deployment, name: vmName } = app.route.asked;
  const key = `vm ${source} ${deployment} ${vmName}`;
  const known = app.fleet.allVms().find((vm) => vm.source === source && vm.name === vmName && (!deployment || vm.deployment === deployment));
  const whole = app.cache.get(key, async () => readVm(source, vmName ?? "", deployment), known?.sequence);
  return html`<div class="page">${fetched(whole, "the VM", (found) => vmPage(app, found, known))}</div>`;
}

async function readVm(source, vmName, deployment) {
  const where = { deployment };
  const [vm, why] = await Promise.all([
    get(path("vms", source, vmName), where), get(path("explain", source, vmName), where),
  ]);
  const [history, callbacks] = await Promise.all([
    get("transitions", { entity: "vm", entity_id: vm.id, order: "newest", limit: HISTORY }),
    get("callbacks", { source, deployment: vm.deployment, vm_name: vm.vm_name, order: "newest", limit: CALLBACKS }),
  ]);
  return { vm, why, history, callbacks };
}

function vmPage(app, { vm, why, history, callbacks }, known) {
  const state = known && known.sequence > vm.sequence ? known.state : vm.state;
  const end = vm.ended_at ? Date.parse(vm.ended_at) : app.now;
  return html`
    <header class="title">
      <p class="kind">VM of <a href=${deploymentLink(vm.source, vm.deployment)}>${text(deploymentName(app.fleet, vm.source, vm.deployment))}</a></p>
      <h1><bdi>${name(vm.vm_name, 320)}</bdi></h1>
      <p class="lead state-now">${badge(state)} <span class="dim">since ${at(vm.changed_at)}, ${time(vm.changed_at, app.now)}</span>
        ${vmFlags({ ...vm, manual: vm.needs_manual_recovery, recovering: vm.recovery_open })}</p>
    </header>
    ${panel("State over time", history.items.length
      ? timeline({ lanes: [{ label: vm.vm_name, spans: spans(history.items, end) }], width: app.width - 32, now: app.now, asked: app.route.asked })
      : notice("No ledger entry is left", "They are past their retention.", nothing, "empty"), { more: rangeChoice(app.route.asked) })}
    <div class="columns">
      ${panel("Why it is in this state", explained(app, why), { kind: "why" })}
      <div>
        ${panel("What it is", facts([
          ["Instance", code(vm.vm_uuid)], ["Group", text(vm.vm_group)], ["Host", text(vm.host_name ?? vm.host_uuid)],
          ["Tenant", text(vm.tenant)], ["Source", vm.source], ["ESC reports", vm.reported_state],
          ["Monitored", vm.monitored === null ? "not told" : vm.monitored ? "yes" : "no"],
          ["First seen", at(vm.first_seen_at)], ["Ledger entries", vm.sequence],
        ]))}
        ${panel("Interfaces", interfaces(vm.interfaces))}
        ${panel("Incarnations", incarnations(app, vm))}
      </div>
    </div>
    ${panel("History", ledger(history, app), { more: history.next ? html`<span class="count">the last ${HISTORY}</span>` : nothing })}
    ${panel("Callbacks", callbackList(app, callbacks))}`;
}

/** Explain, step by step: callback, rule, previous state, what comes next, what was published. */
function explained(app, why) {
  const { cause, callback, previous, expected, published, operation } = why;
  const step = (term, body, when) => html`<li><span class="term">${term}</span><div>${body}${when ? html`<small class="dim">${at(when)}</small>` : nothing}</div></li>`;
  return html`
    <p class="story"><bdi>${(why.words ?? []).map((one) => name(one, 600)).join(" ")}</bdi></p>
    <ol class="steps">
      ${previous ? step("Before", badge(previous.state), previous.since) : nothing}
      ${callback ? step("Callback", html`<a href=${link("callback", { receipt: callback.receipt })}><bdi>${name(callback.trigger ?? callback.family)}</bdi></a> <span class="dim">${callback.outcome}, status ${callback.status_code ?? "–"}</span>`, callback.received_at) : nothing}
      ${cause ? step("Rule", html`<code>${cause.rule}</code> <bdi>${name(cause.reason, 240)}</bdi>`, cause.at) : nothing}
      ${step("State", badge(why.state), why.since)}
      ${operation ? step("Operation", html`${operation.kind} <a href=${operationLink(why.vm.source, operation.transaction_id)}>${code(operation.transaction_id, 48)}</a> ${badge(operation.state)} ${progress(operation)}`) : nothing}
      ${step("Expected", expectedNext(expected, app))}
      ${published ? step("Published", published.published === false ? "waits in the outbox" : html`${published.published ? "in" : "on its way to"} stream <code>${published.stream}</code>${published.sequence ? html`, sequence ${published.sequence}` : nothing} <small>${code(published.id)}</small>`, published.at) : nothing}
    </ol>`;
}

function expectedNext(expected, app) {
  if (!expected.messages.length) return expected.rests ?? "nothing that is known";
  const left = expected.by ? (Date.parse(expected.by) - app.now) / 1000 : null;
  return html`${expected.messages.map((one, index) => html`${index ? ", then perhaps " : ""}<code>${one.trigger}</code>${one.state ? html` → ${one.state}` : nothing}`)}
    ${left === null ? nothing : html`<span class="flag ${left < 0 ? "bad" : ""}">${left < 0 ? `overdue for ${span(-left)}` : `within ${span(left)}`}</span>`}`;
}

function interfaces(list) {
  if (!list.length) return html`<p class="calm">None reported.</p>`;
  return html`<div class="scroll-x" tabindex="0" role="region" aria-label="Interfaces"><table class="entries"><thead><tr><th>NIC</th><th>Address</th><th>MAC</th><th>Network</th></tr></thead>
    <tbody>${list.map((nic) => html`<tr><td>${text(nic.nic_id ?? nic.type)}</td><td>${code(nic.ip_address)}</td><td>${code(nic.mac_address)}</td><td>${code(nic.network_uuid ?? nic.subnet_uuid, 40)}</td></tr>`)}</tbody></table></div>`;
}

function incarnations(app, vm) {
  return html`<ol class="incarnations">${(vm.incarnations ?? []).map((one) => html`<li>
    <p><strong>No. ${one.incarnation}</strong> ${badge(one.state)} <span class="dim">${at(one.first_seen_at)}${one.ended_at ? html` to ${at(one.ended_at)}` : nothing}</span></p>
    <ul>${one.instances.map((instance) => html`<li>${code(instance.vm_uuid, 60)} <small class="dim">from ${clock(instance.valid_from)}${instance.valid_to ? ` to ${clock(instance.valid_to)}` : ", now"}</small></li>`)}</ul></li>`)}</ol>`;
}

export function ledger(history, app, named = false) {
  if (!history.items.length) return html`<p class="calm">No ledger entry is left.</p>`;
  return html`<div class="scroll-x" tabindex="0" role="region" aria-label="Ledger entries"><table class="entries"><thead><tr><th>No.</th><th>Time</th>${named ? html`<th>Of</th>` : nothing}<th>Change</th><th>Trigger</th><th class="wide">Why</th><th>Callback</th></tr></thead>
    <tbody>${history.items.map((one) => html`<tr><td class="number">${one.sequence}</td><td>${at(one.at)}</td>
      ${named ? html`<td class="of">${one.entity === "vm" ? html`<a href=${vmLink({ source: one.source, deployment: one.deployment, name: one.name })}>${text(one.name, 40)}</a>` : one.entity}</td>` : nothing}
      <td class="move">${move(one)}</td><td class="trigger"><code>${name(one.trigger, 40)}</code></td><td class="wide"><bdi>${name(one.reason, 200)}</bdi> <small class="dim">${one.rule}</small></td>
      <td>${one.receipt ? html`<a href=${link("callback", { receipt: one.receipt })} aria-label="Callback ${one.receipt}">open</a>` : "timer"}</td></tr>`)}</tbody></table></div>`;
}

export function callbackList(app, callbacks) {
  if (!callbacks.items.length) return html`<p class="calm">None is left, or none named this VM.</p>`;
  return html`<ul class="cards">${callbacks.items.map((one) => html`<li class="card">
    <div class="card-head"><span class="flag">${one.outcome}</span><strong class="grow"><bdi>${name(one.trigger ?? one.family)}</bdi> <small class="dim"><bdi>${name(one.reason, 160)}</bdi></small></strong>
      <a href=${link("callback", { receipt: one.receipt })}>${at(one.received_at)}</a></div>
    ${bytesOf(app, one)}</li>`)}</ul>`;
}

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
    get("operations", { source, deployment: id, limit: 50 }),
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
    { label: "deployment", spans: own },
    ...vms.slice(0, LANES).map((vm) => ({ label: vm.vm_name, href: vmLink({ ...vm, name: vm.vm_name }), spans: spans(of(vm.id), end(vm)) })),
  ].filter((lane) => lane.spans.length);
  const counts = {};
  for (const vm of vms) counts[vm.state] = (counts[vm.state] ?? 0) + 1;
  return html`
    <header class="title">
      <p class="kind">Deployment on ${deployment.source}</p>
      <h1><bdi>${name(deployment.deployment_name || deployment.internal_deployment_id, 320)}</bdi></h1>
      <p class="lead state-now">${badge(deployment.state)} <span class="dim">since ${at(deployment.changed_at)}, ${time(deployment.changed_at, app.now)}</span>
        ${deploymentFlags({ ...deployment, leak: deployment.vim_leak_suspected })}</p>
    </header>
    ${panel("States over time", lanes.length
      ? timeline({ lanes, width: app.width - 32, now: app.now, asked: app.route.asked })
      : notice("No ledger entry is left", "They are past their retention.", nothing, "empty"), { more: rangeChoice(app.route.asked) })}
    ${vms.length > LANES ? html`<p class="hint">The first ${LANES} of ${vms.length} VMs are drawn.</p>` : nothing}
    <div class="columns">
      ${panel("VMs", vms.length ? html`<ul class="list">${vms.map((vm) => html`<li><a href=${vmLink({ ...vm, name: vm.vm_name })}>${mark(vm.state)}<span class="grow">${text(vm.vm_name, 60)}</span></a>${badge(vm.state)}${time(vm.changed_at, app.now)}</li>`)}</ul>` : html`<p class="calm">None seen yet.</p>`, { more: mix(counts) })}
      <div>
        ${panel("What it is", facts([
          ["Internal id", code(deployment.internal_deployment_id)], ["External id", code(deployment.external_deployment_id)],
          ["Tenant", text(deployment.tenant)], ["Incarnation", deployment.incarnation], ["ESC reports", deployment.reported_state],
          ["First seen", at(deployment.first_seen_at)], ["Ended", deployment.ended_at ? at(deployment.ended_at) : "no"],
        ]))}
        ${panel("Operations", operationList(app, operations.items))}
      </div>
    </div>
    ${panel("History", ledger({ items: entries.slice(0, HISTORY) }, app, true))}`;
}

function operationList(app, items) {
  if (!items.length) return html`<p class="calm">None known.</p>`;
  const sorted = [...items].sort((a, b) => Date.parse(b.first_seen_at) - Date.parse(a.first_seen_at));
  return html`<ul class="list">${sorted.map((one) => html`<li><a href=${operationLink(one.source, one.transaction_id)}>${mark(one.state)}<span class="grow">${one.kind} <small>${text(one.transaction_id, 40)}</small></span></a>${progress(one)}${time(one.first_seen_at, app.now)}</li>`)}</ul>`;
}
