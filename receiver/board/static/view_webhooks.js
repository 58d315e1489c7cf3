// Where events are posted for those who have no NATS: how each webhook is, and what can be done about it.
import { html, nothing } from "./vendor/lit-html/lit-html.js";
import { repeat } from "./vendor/lit-html/directives/repeat.js";
import { get, path, post } from "./api.js";
import { count, name } from "./text.js";
import { copied, facts, text, time } from "./parts.js";

const BAD = ["disabled", "lost"];

/** All webhooks; nothing where none is configured. */
export function webhooksSection(app) {
  const items = app.cache.get("webhooks", () => get("webhooks")).value?.items ?? [];
  if (!items.length) return nothing;
  return html`<h2>Webhooks <span class="count">${count(items.length)}</span></h2>
    <p class="hint">Where events are posted. An event that is not taken is tried again; a webhook that is disabled is sent nothing.</p>
    <ul class="cards">${repeat(items, (one) => one.name, (one) => card(app, one))}</ul>`;
}

const card = (app, one) => html`<li class="panel card webhook">
  <div class="card-head"><span class="flag ${BAD.includes(one.state) ? "bad" : ""}">${one.state}</span>
    <strong class="grow">${text(one.name, 64)}</strong>${one.since ? time(one.since, app.now) : nothing}</div>
  ${one.reason ? html`<p><bdi>${name(one.reason, 400)}</bdi></p>` : nothing}
  ${facts([
    ["Address", text(one.url, 120)],
    ["Subjects", text(one.subjects.join(" ") || "all", 120)],
    ["Pending", one.pending === null ? "unknown: NATS does not tell" : count(one.pending)],
    ["Taken up to", one.cursor_sequence === null ? "not begun" : `sequence ${one.cursor_sequence}`],
    ["Last taken", one.last_delivered_at ? html`${time(one.last_delivered_at, app.now)} ${copied(one.last_delivered_id, "webhook-id", 40)}` : "none yet"],
    ["Last error", one.last_error_at ? html`${time(one.last_error_at, app.now)}: <bdi>${name(one.last_error, 240)}</bdi>` : "none"],
  ])}
  ${mayOperate(app) ? actions(app, one) : nothing}
</li>`;

const mayOperate = (app) => app.cache.get("session", () => get("session")).value?.scopes.includes("operate") ?? false;

function actions(app, one) {
  const key = `webhook ${one.name}`;
  const { busy, error, told } = app.desk.of(key);
  const ask = (what, question) => app.desk.ask(key, what, async () => ({ told: await question() })).then(() => app.cache.renew("webhooks"));
  return html`<p class="actions">
      ${one.state === "delivering" ? nothing : html`<button type="button" ?disabled=${busy} @click=${() => ask("enable", () => enable(one))}>${one.state === "failing" ? "Try now" : "Enable"}</button>`}
      <button type="button" ?disabled=${busy} @click=${() => ask("test", () => tried(one))}>Send a test event</button></p>
    ${busy ? html`<p class="desk" aria-busy="true">Asking …</p>` : nothing}
    ${error ? html`<p class="wrong" role="alert">${error.message}</p>` : nothing}
    ${told ? html`<p class="desk" role="status">${name(told, 300)} <button type="button" @click=${() => app.desk.set(key, null)}>Close</button></p>` : nothing}`;
}

async function enable(one) {
  await post(path("webhooks", one.name, "enable"), {});
  return "It is sent events again, from where it stood.";
}

async function tried(one) {
  const { delivered, said } = await post(path("webhooks", one.name, "test"), {});
  return `${delivered ? "Taken" : "Not taken"}: ${said}`;
}
