/** The template that a `--format` stands for: `json`, `table`, `table TEMPLATE` or a template; `\t` and `\n` are unescaped. */
export function printableFormat(options: {
  readonly format: string;
  readonly table: string;
  readonly quiet?: string | undefined;
}): { source: string; isTable: boolean } {
  const { format } = options;
  if (options.quiet !== undefined && !format.startsWith("json")) return { source: options.quiet, isTable: false };
  if (format === "" || format === "table") return { source: unescape(options.table), isTable: true };
  if (format === "json") return { source: "{{json .}}", isTable: false };
  const isTable = format.startsWith("table");
  return { source: unescape(isTable ? format.slice("table".length) : format), isTable };
}

function unescape(format: string): string {
  return format
    .replace(/^ +| +$/g, "")
    .replaceAll("\\t", "\t")
    .replaceAll("\\n", "\n");
}
