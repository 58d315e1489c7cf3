// The page of one VM: why it is in its state, timeline, history, interfaces, incarnations, callbacks.
import { html, nothing } from "./vendor/lit-html/lit-html.js";
import { copyButton } from "./copy.js";
import { badge } from "./states.js";
import { clock, name, span } from "./text.js";
import { deploymentLink, link, operationLink } from "./route.js";
import { at, code, copied, deploymentName, facts, fetched, kindWords, notice, panel, text, time } from "./parts.js";
import { rangeChoice, spans, timeline } from "./timeline.js";
import { vmFlags } from "./view_lists.js";
import { progress } from "./progress.js";
import { callbackList, ledger } from "./histories.js";
import { get, path } from "./api.js";

const HISTORY = 200;
const CALLBACKS = 30;

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
      <h1><bdi>${name(vm.vm_name, 320)}</bdi> ${copyButton(vm.vm_name, "the name")}</h1>
      <p class="lead state-now">${badge(state)} <span class="dim">since ${at(vm.changed_at)}, ${time(vm.changed_at, app.now)}</span>
        ${vmFlags(vm)}</p>
    </header>
    ${panel("State over time", history.items.length
      ? timeline({ lanes: [{ label: vm.vm_name, spans: spans(history.items, end) }], width: app.width - 32, now: app.now, asked: app.route.asked })
      : notice("No ledger entry is left", "They are past their retention.", nothing, "empty"), { more: rangeChoice(app.route.asked) })}
    <div class="columns">
      ${panel("Why it is in this state", explained(app, why), { kind: "why" })}
      <div>
        ${panel("What it is", facts([
          ["Instance", copied(vm.vm_uuid, "the instance id")], ["Group", text(vm.vm_group)], ["Host", text(vm.host_name ?? vm.host_uuid)],
          ["Tenant", text(vm.tenant)], ["Source", vm.source], ["ESC reports", vm.reported_state],
          ["Monitoring", vm.monitored === null ? "not reported" : vm.monitored ? "on" : "off"],
          ["First seen", at(vm.first_seen_at)], ["Ledger entries", vm.sequence],
        ]))}
        ${panel("Interfaces", interfaces(vm.interfaces))}
        ${panel("Incarnations", incarnations(app, vm))}
      </div>
    </div>
    ${panel("History", ledger(history, app), { more: history.next ? html`<span class="count">the last ${HISTORY}</span>` : nothing })}
    ${panel("Callbacks", callbackList(app, callbacks), { more: callbacks.next ? html`<span class="count">the last ${CALLBACKS}</span>` : nothing })}`;
}

/** Explain, step by step: callback, rule, previous state, what comes next, what was published. */
function explained(app, why) {
  const { cause, callback, previous, expected, published, operation } = why;
  const step = (term, body, when) => html`<li><span class="term">${term}</span><div>${body}${when ? html`<small class="dim">${at(when)}</small>` : nothing}</div></li>`;
  return html`
    <p class="story"><bdi>${(why.words ?? []).map((one) => name(one, 600)).join(" ")}</bdi></p>
    <ol class="steps">
      ${previous ? step("Before", badge(previous.state), previous.since) : nothing}
      ${callback ? step("Callback", html`<a href=${link("callback", { receipt: callback.receipt })}><bdi>${name(callback.trigger ?? callback.family)}</bdi></a> <span class="dim">${callback.outcome}${callback.status_code === null ? "" : `, status ${callback.status_code}`}</span>`, callback.received_at) : nothing}
      ${cause ? step("Rule", html`<code>${cause.rule}</code> <bdi>${name(cause.reason, 240)}</bdi>`, cause.at) : nothing}
      ${step("State", badge(why.state), why.since)}
      ${operation ? step("Operation", html`${kindWords(operation.kind)} <a href=${operationLink(why.vm.source, operation.transaction_id)}>${code(operation.transaction_id, 48)}</a> ${badge(operation.state)} ${progress(operation)}`) : nothing}
      ${step("Expected", expectedNext(expected, app))}
      ${published ? step("Published", published.published === false ? "waits to be published" : html`${published.published ? "in" : "on its way to"} stream <code>${published.stream}</code>${published.sequence ? html`, sequence ${published.sequence}` : nothing} <small>${code(published.id)}</small>`, published.at) : nothing}
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
