// Small pieces that views share: panels, notices, facts, filters, links to things. It must not know what is shown.
import { html, nothing } from "./vendor/lit-html/lit-html.js";
import { copyButton } from "./copy.js";
import { badge } from "./states.js";
import { ago, count, moment, name } from "./text.js";
import { change, deploymentLink, link, operationLink } from "./route.js";

export const panel = (title, body, { more = nothing, kind = "" } = {}) => html`
  <section class="panel ${kind}" aria-label=${title}>
    <header><h2>${title}</h2>${more}</header>
    ${body}
  </section>`;

/** A designed state: nothing there, being loaded, gone wrong. */
export const notice = (title, text = nothing, action = nothing, kind = "") => html`
  <div class="notice ${kind}"><p class="notice-title">${title}</p><p>${text}</p>${action}</div>`;

export const loading = (what) => html`
  <div class="notice" aria-busy="true"><div class="bars" aria-hidden="true"><i></i><i></i><i></i></div><p>Loading ${what} …</p></div>`;

export const failed = (error, again) =>
  notice(
    error.status === 404 ? "Nothing is known of it" : (error.title ?? "This could not be loaded"),
    error.detail ?? (error.status === 404 ? "It may be past its retention, or the link is wrong." : nothing),
    error.status === 404 ? nothing : html`<button type="button" @click=${again}>Try again</button>`,
    "wrong",
  );

/** What `cache` holds: shown by `view`, or as loading or failed. What is old stays while the new is fetched. */
export const fetched = (entry, what, view) => {
  if (entry.value !== undefined) return view(entry.value);
  return entry.error ? failed(entry.error, entry.again) : loading(what);
};

export const time = (value, now) =>
  value ? html`<time datetime=${value} title=${moment(value)}>${ago(value, now)}</time>` : "–";
export const at = (value) => (value ? html`<time datetime=${value}>${moment(value)}</time>` : "–");

export const facts = (pairs) => html`
  <dl class="facts">${pairs.filter(([, value]) => value !== undefined).map(([term, value]) => html`<div><dt>${term}</dt><dd>${value ?? "–"}</dd></div>`)}</dl>`;

export const text = (value, most) => html`<bdi title=${value && value.length > (most ?? 80) ? name(value, 600) : nothing}>${name(value, most)}</bdi>`;
export const code = (value, most) => html`<code><bdi>${name(value, most)}</bdi></code>`;
/** An id that is wanted elsewhere: with a button that copies it. */
export const copied = (value, what, most) => (value ? html`${code(value, most)} ${copyButton(value, what)}` : "–");

/** A name in a list: cut alike everywhere, so that a thing is called the same wherever it is met. */
export const SHORT = 44;
export const short = (value) => text(value, SHORT);

export const deploymentName = (fleet, source, id) => fleet.nameOf(source, id);
export const toDeployment = (fleet, source, id) =>
  id ? html`<a href=${deploymentLink(source, id)}>${short(deploymentName(fleet, source, id))}</a>` : "–";

/** What an operation is called: what was asked for, and its transaction. */
export const kindWords = (kind) => (kind && kind !== "unknown" ? name(kind.replaceAll("_", " "), 40) : "operation");
export const operationName = (kind, id) => html`${kind && kind !== "unknown" ? kindWords(kind) : nothing} <code><bdi>${name(id, SHORT)}</bdi></code>`;

/** The thing that a ledger entry is about, as its own page names it. */
export const toThing = (fleet, change) => {
  const { entity, source, name: called } = change;
  if (entity === "vm") return html`<a href=${link("vm", { source, deployment: change.deployment, name: called })}>${short(called)}</a>`;
  if (entity === "deployment") return toDeployment(fleet, source, called);
  if (entity === "operation") return html`<a href=${operationLink(source, called)}>${operationName(fleet.operations.get(change.entity_id)?.kind, called)}</a>`;
  if (entity === "resource") return html`<a href=${link("resources", { q: called })}>${short(called)}</a>`;
  return short(called);
};
/** The deployment that a ledger entry belongs to, unless it is the thing itself. */
export const itsDeployment = (change) => (change.entity === "deployment" ? null : change.deployment);

/** From one state to the next, or the note when the state stayed. */
export const move = (change) =>
  change.from_state === change.to_state
    ? html`${badge(change.to_state)} <span class="dim">${change.change}</span>`
    : html`<span class="dim from">${change.from_state === "UNSEEN" ? "new" : change.from_state}</span><span class="arrow" aria-label="to">→</span>${badge(change.to_state)}`;

export const search = (asked, label) => html`
  <input type="search" aria-label=${label} placeholder=${label} .value=${asked.q ?? ""} autocomplete="off" spellcheck="false"
    @input=${(event) => change({ q: event.target.value })}>`;

/** `values` may be pairs of a value and its words. What is asked for can always be seen, also when it is not among them. */
export function choose(asked, key, label, values, none = "all") {
  const pairs = values.map((value) => [value].flat()).map(([value, words]) => [value, words ?? name(value, 40)]);
  if (asked[key] && !pairs.some(([value]) => value === asked[key])) pairs.push([asked[key], name(asked[key], 40)]);
  return html`
    <span class="choose"><label for="choose-${key}">${label}</label>
      <select id="choose-${key}" @change=${(event) => change({ [key]: event.target.value })}>
        <option value="" ?selected=${!asked[key]}>${none}</option>
        ${pairs.map(([value, words]) => html`<option value=${value} ?selected=${asked[key] === value}>${words}</option>`)}
      </select>
    </span>`;
}

/** A filter that came with a link and has no field of its own: seen, and taken away by a click. */
export const chip = (key, value) => html`
  <button type="button" class="chip" aria-label="Remove the filter ${key}" @click=${() => change({ [key]: "" })}>${key}: <bdi>${name(value, 40)}</bdi> ×</button>`;

export const tick = (asked, key, label) => html`
  <label class="tick"><input type="checkbox" .checked=${asked[key] === "1"} @change=${(event) => change({ [key]: event.target.checked ? "1" : "" })}>${label}</label>`;

export const distinct = (things, key) => [...new Set(things.map((thing) => thing[key]).filter(Boolean))].sort();

const TOTAL_MAX = 10_000; // more are not counted by the receiver

/** How many a list has in all; where the receiver did not look through all, how many were found so far. */
export function inAll({ items, total }) {
  if (!items) return "";
  if (total === null) return `${count(items.length)} so far`;
  return total > TOTAL_MAX ? `more than ${count(TOTAL_MAX)}` : count(total);
}
