/** `--filter name=value` flags as the API's `filters` parameter; undefined when there are none. */
export function encodeFilters(
  flags: readonly string[],
  more: Readonly<Record<string, string>> = {},
): string | undefined {
  const filters: Record<string, Record<string, true>> = {};
  const add = (name: string, value: string): void => {
    (filters[name] ??= {})[value] = true;
  };
  for (const flag of flags) {
    const equals = flag.indexOf("=");
    if (equals > 0) add(flag.slice(0, equals).trim().toLowerCase(), flag.slice(equals + 1).trim());
  }
  for (const [name, value] of Object.entries(more)) add(name, value);
  return Object.keys(filters).length === 0 ? undefined : JSON.stringify(filters);
}
