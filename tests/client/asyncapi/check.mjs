// Judges an AsyncAPI document with AsyncAPI's own parser: prints each fault, and ends with 1 when there is an error.
import { readFile } from "node:fs/promises";

import { Parser } from "@asyncapi/parser";

const { document, diagnostics } = await new Parser().parse(await readFile(process.argv[2], "utf8"));
const errors = diagnostics.filter((one) => one.severity === 0);
for (const { code, message, path } of errors) console.log(code, path.join("."), message);
console.log(errors.length === 0 && document ? `valid: ${document.operations().all().length} operations` : "invalid");
process.exit(errors.length === 0 ? 0 : 1);
