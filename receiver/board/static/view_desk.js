// The forms of what a person does about dead letters: a note, or a look at what a replay would change before it is done.
import { html, nothing } from "./vendor/lit-html/lit-html.js";
import { count, counted, name } from "./text.js";
import { move, short } from "./parts.js";

const SHOWN = 50;
const FATES = {
  applied: "applied", changed: "with another result than before", unchanged: "without a change", quarantined: "still not understood",
  repeat: "a repeat of what was received", gone: "past their retention", failed: "failed",
};

/** A note, and whose. */
export function acknowledging(desk, key, chosen) {
  const { busy, error, told } = desk.of(key);
  if (told) return outcome(desk, key, told);
  const send = (event) => {
    event.preventDefault();
    const { note, by } = event.target.elements;
    desk.acknowledge(key, chosen, note.value, by.value);
  };
  return html`<form class="desk" @submit=${send}>
    <label>Note<input name="note" required maxlength="1000" autocomplete="off"></label>
    <label>Your name<input name="by" maxlength="512" .value=${desk.by} autocomplete="name" placeholder="else your address is kept"></label>
    <button type="submit" ?disabled=${busy}>Acknowledge</button> <button type="button" @click=${() => desk.set(key, null)}>Cancel</button>
    ${refused(error)}
  </form>`;
}

/** What a replay would change, or has changed. `targets`: sources to which what came to an unknown one can be moved. */
export function replaying(app, key, chosen, targets) {
  const { desk } = app;
  const { busy, error, preview, toSource } = desk.of(key);
  const movable = preview ? preview.applied + preview.changed : 0;
  return html`<div class="desk" role="group" aria-label="Replay">
    ${targets.length ? html`<label>To the source<select @change=${(event) => desk.preview(key, chosen, event.target.value)}>
      ${targets.map((one) => html`<option value=${one} ?selected=${one === toSource}>${one}</option>`)}</select></label>` : nothing}
    ${busy ? html`<p aria-busy="true">${preview ? "Replaying …" : "Looking at what would change …"}</p>` : nothing}
    ${preview && !busy ? html`<p><strong>${preview.dry_run ? "Would be:" : "Done:"}</strong> ${fates(preview)}; ${counted(preview.entries, "ledger entry", "ledger entries")}.</p>${changes(app, preview)}` : nothing}
    ${refused(error)}
    ${preview?.dry_run && movable && !busy ? html`<button type="button" @click=${() => desk.replay(key, chosen)}>Replay ${counted(preview.callbacks, "callback")} now</button>` : nothing}
    ${preview?.dry_run && !movable && !busy ? html`<p class="hint">Nothing would change; a newer version may understand it.</p>` : nothing}
    <button type="button" @click=${() => desk.set(key, null)}>${preview && !preview.dry_run ? "Close" : "Cancel"}</button>
  </div>`;
}

const fates = (preview) => Object.entries(FATES).filter(([fate]) => preview[fate]).map(([fate, words]) => `${count(preview[fate])} ${words}`).join(", ");

function changes(app, { transitions, entries }) {
  if (!transitions.length) return nothing;
  return html`<table class="entries"><thead><tr><th>Kind</th><th>Name</th><th>Change</th><th class="wide">Why</th></tr></thead>
      <tbody>${transitions.slice(0, SHOWN).map((one) => html`<tr><td class="of dim">${one.entity}</td><td>${short(one.name)}</td><td class="move">${move(one)}</td><td class="wide dim"><bdi>${name(one.reason, 160)}</bdi></td></tr>`)}</tbody></table>
    ${entries > SHOWN ? html`<p class="hint">The first ${SHOWN} of ${count(entries)}.</p>` : nothing}`;
}

const refused = (error) => (error ? html`<p class="wrong" role="alert">${error.message}</p>` : nothing);
const outcome = (desk, key, told) => html`<p class="desk" role="status">${told} <button type="button" @click=${() => desk.set(key, null)}>Close</button></p>`;
