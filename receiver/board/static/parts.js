// Small pieces that views share: panels, notices, facts, filters, links to things. It must not know what is shown.
import { html, nothing } from "./vendor/lit-html/lit-html.js";
import { badge } from "./states.js";
import { ago, moment, name } from "./text.js";
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

export const deploymentName = (fleet, source, id) => fleet.deployments.get(`${source}\u0000${id}`)?.label || id;
export const toDeployment = (source, id, label) =>
  id ? html`<a href=${deploymentLink(source, id)}>${text(label ?? id)}</a>` : "–";
export const toThing = (change) => {
  if (change.entity === "vm")
    return html`<a href=${link("vm", { source: change.source, deployment: change.deployment, name: change.name })}>${text(change.name, 48)}</a>`;
  if (change.entity === "deployment") return html`<a href=${deploymentLink(change.source, change.name)}>${text(change.name, 48)}</a>`;
  if (change.entity === "operation") return html`<a href=${operationLink(change.source, change.name)}>${text(change.name, 48)}</a>`;
  return text(change.name, 48);
};

/** From one state to the next, or the note when the state stayed. */
export const move = (change) =>
  change.from_state === change.to_state
    ? html`${badge(change.to_state)} <span class="dim">${change.change}</span>`
    : html`<span class="dim from">${change.from_state === "UNSEEN" ? "new" : change.from_state}</span><span class="arrow" aria-label="to">→</span>${badge(change.to_state)}`;

export const search = (asked, label) => html`
  <input type="search" aria-label=${label} placeholder=${label} .value=${asked.q ?? ""} autocomplete="off" spellcheck="false"
    @input=${(event) => change({ q: event.target.value })}>`;

export const choose = (asked, key, label, values, none = "all") => html`
  <span class="choose"><label for="choose-${key}">${label}</label>
    <select id="choose-${key}" @change=${(event) => change({ [key]: event.target.value })}>
      <option value="" ?selected=${!asked[key]}>${none}</option>
      ${values.map((value) => html`<option value=${value} ?selected=${asked[key] === value}>${name(value, 40)}</option>`)}
    </select>
  </span>`;

export const tick = (asked, key, label) => html`
  <label class="tick"><input type="checkbox" .checked=${asked[key] === "1"} @change=${(event) => change({ [key]: event.target.checked ? "1" : "" })}>${label}</label>`;

export const distinct = (things, key) => [...new Set(things.map((thing) => thing[key]).filter(Boolean))].sort();

/** Whether a thing is among those that are asked for: `q` word by word, the others exactly. */
export function matcher(asked, keys) {
  const words = (asked.q ?? "").toLowerCase().split(/\s+/).filter(Boolean);
  return (thing) =>
    keys.every((key) => !asked[key] || thing[key] === asked[key]) && words.every((word) => thing.search.includes(word));
}
