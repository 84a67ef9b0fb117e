import { UsageError } from "../usage-error.ts";

/** One record of comma-separated fields with RFC 4180 quotes, as Go's encoding/csv reads it. */
export function readCsvRecord(text: string): string[] {
  const fields: string[] = [];
  let at = 0;
  for (;;) {
    const quoted = /"((?:[^"]|"")*)"(?=,|$)/y;
    quoted.lastIndex = at;
    const match = quoted.exec(text);
    const plainEnd = text.indexOf(",", at);
    const end = match ? quoted.lastIndex : plainEnd < 0 ? text.length : plainEnd;
    const field = match ? (match[1] ?? "").replaceAll('""', '"') : text.slice(at, end);
    if (!match && field.includes('"')) {
      throw new UsageError(`parse error on line 1, column ${at + 1 + field.indexOf('"')}: bare " in non-quoted-field`);
    }
    fields.push(field);
    if (end >= text.length) return fields;
    at = end + 1;
  }
}
