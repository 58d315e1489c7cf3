// Dead letters: callbacks that were kept and not understood, by source and reason, and what can be done about them.
import { html, nothing } from "./vendor/lit-html/lit-html.js";
import { repeat } from "./vendor/lit-html/directives/repeat.js";
import { bytes, count, counted, name } from "./text.js";
import { link } from "./route.js";
import { at, choose, distinct, failed, inAll, loading, notice, search, time } from "./parts.js";
import { address, get, path } from "./api.js";
import { bytesOf } from "./view_happened.js";
import { readSources } from "./view_sources.js";
import { renewal } from "./server_list.js";
import { acknowledging, replaying } from "./view_desk.js";

const DEAD = ["malformed", "unclassified"];
const WAITING = { "": false, seen: true, all: null };

export function deadLettersView(app) {
  const { asked } = app.route;
  const acknowledged = WAITING[asked.show ?? ""] ?? null;
  const chosen = { source: asked.source, outcome: asked.outcome ? [asked.outcome] : null, acknowledged };
  const callbacks = { ...chosen, outcome: chosen.outcome ?? DEAD, q: asked.q, order: "newest" };
  const [key, version] = [`quarantine ${JSON.stringify(chosen)}`, renewal(app.now)];
  const groups = app.cache.get(key, () => get("quarantine", chosen), version);
  if (groups.error && groups.version !== version) app.cache.renew(key);
  return html`
    <div class="bar-of-filters" role="search"><h1>Dead letters <span class="count">${sums(groups.value)}</span></h1>
      ${search(asked, "Search the dead letters")}
      ${choose(asked, "show", "Show", [["seen", "acknowledged"], ["all", "all"]], "waiting")}
      ${choose(asked, "outcome", "Outcome", DEAD)}
      ${choose(asked, "source", "Source", distinct([...app.fleet.allDeployments(), ...(groups.value?.items ?? [])], "source"))}
      ${app.exports.buttons("callbacks", callbacks)}
      <p class="hint">Kept, answered, and not understood: nothing of it moved any state.${mayOperate(app) ? nothing : " To acknowledge or replay needs a token of the scope operate."}</p></div>
    <div class="scroll">${asked.q ? found(app, app.lists.read("callbacks", callbacks, renewal(app.now))) : grouped(app, groups, acknowledged)}</div>`;
}

const sums = (groups) => (groups ? `${count(groups.unacknowledged)} waiting${groups.callbacks > groups.unacknowledged ? `, ${count(groups.callbacks)} in all` : ""}` : "");

/** Whether this reader may change something. */
const mayOperate = (app) => app.cache.get("session", () => get("session")).value?.scopes.includes("operate") ?? false;

function grouped(app, groups, acknowledged) {
  if (!groups.value) return groups.error ? failed(groups.error, groups.again) : loading("the dead letters");
  const { items, callbacks, counted_max: most } = groups.value;
  if (!items.length) return none(app.route.asked, acknowledged === false);
  return html`<ul class="cards">${repeat(items, (one) => keyOf(one), (one) => group(app, one, acknowledged))}</ul>
    ${callbacks >= most ? html`<p class="further hint">Only the latest ${count(most)} are counted here.</p>` : nothing}`;
}

function none(asked, waiting) {
  if (asked.outcome || asked.source) return notice("Nothing matches", "All that is kept was looked through.", html`<a class="button" href=${link("quarantine", { show: asked.show })}>Clear filters</a>`, "empty");
  if (waiting) return notice("No dead letter waits", "Every callback that was kept has been understood, or somebody has looked at it.", html`<a class="button" href=${link("quarantine", { show: "all" })}>Show all</a>`, "empty");
  return notice("There is none", "Every callback that was kept has been understood.", nothing, "empty");
}

const keyOf = ({ source, outcome, rule, reason }) => JSON.stringify([source, outcome, rule, reason]);
const flag = ({ outcome }) => html`<span class="flag ${outcome === "malformed" ? "bad" : ""}">${outcome}</span>`;

function group(app, one, acknowledged) {
  const { source, outcome, rule, reason } = one;
  const key = `group ${keyOf(one)}`;
  // What came after these were counted stays out of what is done about them.
  const its = { source, outcome, rule, reason, until: new Date(Date.parse(one.latest_at) + 1).toISOString() };
  const shown = app.opened.has(key);
  const seen = one.callbacks - one.unacknowledged;
  return html`<li class="panel card">
    <div class="card-head">${flag(one)}<strong class="grow"><bdi>${name(reason, 240)}</bdi></strong><span class="count">${count(one.callbacks)}</span></div>
    <p class="dim">${source} · rule ${rule} · ${one.callbacks > 1 ? html`${at(one.first_at)} to ` : nothing}${at(one.latest_at)}${seen ? ` · ${count(seen)} acknowledged` : nothing}</p>
    ${mayOperate(app) ? actions(app, key, its, one) : nothing}
    <details class="bytes" .open=${shown} @toggle=${(event) => app.open(key, event.target.open)}><summary>${counted(one.callbacks, "callback")}, the latest first</summary>
      ${shown ? found(app, app.lists.read("callbacks", { source, outcome: [outcome], rule, reason, acknowledged, order: "newest" }, renewal(app.now), key)) : nothing}</details>
  </li>`;
}

function actions(app, key, chosen, one) {
  const sources = app.cache.get("sources", readSources).value?.items ?? [];
  const away = sources.length && !sources.some(({ source, configured }) => configured && source === chosen.source);
  const targets = away ? sources.filter(({ configured }) => configured).map(({ source }) => source) : [];
  return html`<p class="actions">
      ${one.unacknowledged ? html`<button type="button" @click=${() => app.desk.note(key)}>Acknowledge …</button>` : nothing}
      <button type="button" @click=${() => app.desk.preview(key, chosen, targets[0])}>Replay …</button></p>
    ${app.desk.of(key).what === "acknowledge" ? acknowledging(app.desk, key, chosen) : nothing}
    ${app.desk.of(key).what === "replay" ? replaying(app, key, chosen, targets) : nothing}`;
}

/** Single callbacks: of a group, or those that a search found. */
function found(app, list) {
  const { items, total, next, error, again, more } = list;
  if (!items) return error ? failed(error, again) : loading("the callbacks");
  if (!items.length) return next ? notice("Nothing so far", "Only the newest were looked through.", nothing, "empty") : notice("Nothing matches", "All that is kept was looked through.", nothing, "empty");
  return html`<ul class="cards">${repeat(items, (one) => one.receipt, (one) => letter(app, one))}</ul>
    ${more ? html`<p class="further"><span class="hint">${count(items.length)} of ${inAll(list)}</span> <button type="button" @click=${more}>${total === null ? "Look further back" : "Show more"}</button></p>` : nothing}`;
}

const letter = (app, one) => html`<li class="card letter">
  <div class="card-head">${flag(one)}<span class="grow"><bdi>${name(one.reason, 240)}</bdi></span>${time(one.received_at, app.now)}</div>
  <p class="dim">${at(one.received_at)} · ${one.source} · ${one.channel} · ${bytes(one.body_bytes)} · from ${one.remote ?? "?"} ·
    <a href=${link("callback", { receipt: one.receipt })}>the whole callback</a> · <a href=${download(one)} download>download the bytes</a></p>
  ${one.acknowledged_at ? html`<p>Acknowledged by <bdi>${name(one.acknowledged_by, 80)}</bdi>, ${at(one.acknowledged_at)}: <bdi>${name(one.acknowledged_note, 1000)}</bdi></p>` : nothing}
  ${mayOperate(app) ? actions(app, `letter ${one.receipt}`, { receipts: [one.receipt] }, { unacknowledged: one.acknowledged_at ? 0 : 1 }) : nothing}
  ${bytesOf(app, one)}
</li>`;

const download = ({ receipt }) => address(`${path("callbacks", receipt)}/raw`).href;
