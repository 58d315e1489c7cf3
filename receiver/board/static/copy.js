// A button that copies a text as it is, not as it is shown. It must not know what the text is.
import { html, svg } from "./vendor/lit-html/lit-html.js";

const SHOWN_MS = 1_200;

const ICON = svg`<path d="M5.500 1.500h7a1 1 0 0 1 1 1v9M2.500 4.500h7a1 1 0 0 1 1 1v8a1 1 0 0 1-1 1h-7a1 1 0 0 1-1-1v-8a1 1 0 0 1 1-1z"></path>`;

export const copyButton = (value, what) => html`<button type="button" class="copy" aria-label="Copy ${what}" title="Copy ${what}" @click=${(event) => copied(event.currentTarget, String(value))}>
  <svg viewBox="0 0 15 16" aria-hidden="true" focusable="false">${ICON}</svg></button>`;

async function copied(button, value) {
  const done = await copy(value);
  button.classList.add(done ? "done" : "failed");
  document.getElementById("spoken").textContent = done ? "Copied" : "The browser did not let it be copied";
  setTimeout(() => button.classList.remove("done", "failed"), SHOWN_MS);
}

/** Browsers give their clipboard to pages of https and of the own machine only; elsewhere a marked text is copied. */
async function copy(value) {
  try {
    await navigator.clipboard.writeText(value);
    return true;
  } catch {
    const field = Object.assign(document.createElement("textarea"), { value, className: "spoken" });
    document.body.append(field);
    field.select();
    const done = document.execCommand("copy");
    field.remove();
    return done;
  }
}
