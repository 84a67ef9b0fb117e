import type { GoObject } from "./go-template/index.ts";
import { printableFormat } from "./listing-format.ts";
import { print } from "./output.ts";
import { alignColumns } from "./tabwriter.ts";

export interface Listing {
  /** What `--format` says; "" for the default. */
  readonly format: string;
  /** The columns of the default table: `{{.ID}}\t{{.Image}}`. */
  readonly table: string;
  /** Column heads by field name. */
  readonly headers: Readonly<Record<string, string>>;
  /** One object a line; each has a `goType` and fields, or functions such as `Label`. */
  readonly rows: readonly GoObject[];
  /** Only this field, one a line. */
  readonly quiet?: string | undefined;
  /** How a bad format's message begins, where docker's command words it in its own way. */
  readonly failures?: { readonly parse: string; readonly execute: string };
}

const usualFailures = { parse: "template parsing error", execute: "template parsing error" };

/** Prints a list as docker does: a table, the format's own lines, or JSON. Throws UsageError for a bad format. */
export async function printListing(listing: Listing): Promise<void> {
  print(await renderListing(listing));
}

/** What `printListing` prints. */
export async function renderListing(listing: Listing): Promise<string> {
  const { GoTemplate, headerFunctions, TemplateError } = await import("./go-template/index.ts");
  const { source, isTable } = printableFormat(listing);
  const failures = listing.failures ?? usualFailures;
  let step = failures.parse;
  try {
    const template = new GoTemplate(source);
    step = failures.execute;
    const lines = listing.rows.map((row) => `${template.execute(row)}\n`).join("");
    if (!isTable) return lines;
    const labels = (name: unknown): string => String(name).split(".").at(-1)?.replaceAll(/[-_]/g, " ") ?? "";
    const head = template.execute({ ...listing.headers, Label: labels }, { functions: headerFunctions });
    return alignColumns(`${head}\n${lines}`);
  } catch (thrown) {
    if (!(thrown instanceof TemplateError)) throw thrown;
    const { UsageError } = await import("./usage-error.ts");
    throw new UsageError(`${step}: ${thrown.message}`);
  }
}
