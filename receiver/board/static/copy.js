// A button that copies a text as it is, not as it is shown. It must not know what the text is.
import { html } from "./vendor/lit-html/lit-html.js";

const SHOWN_MS = 1_200;

export const copyButton = (value, what) => html`<button type="button" class="copy" aria-label="Copy ${what}" title="Copy ${what}" @click=${(event) => copied(event.currentTarget, String(value))}>⧉</button>`;

async function copied(button, value) {
  const done = await copy(value);
  button.textContent = done ? "✓" : "✗";
  button.title = done ? "Copied" : "The browser did not let it be copied";
  document.getElementById("spoken").textContent = button.title;
  setTimeout(() => (button.textContent = "⧉"), SHOWN_MS);
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
