import type { Command, Invocation } from "../command.ts";
import { ellipsis } from "../display.ts";
import { encodeFilters } from "../filters.ts";
import { goType } from "../go-template/index.ts";
import { printListing } from "../listing.ts";
import { authHeader } from "../registry-credentials.ts";

const descriptionCharacters = 45;

export const command: Command = {
  usage: "search [OPTIONS] TERM",
  description: "Search a registry for images",
  details: "Docker Hub is searched, or the registry that TERM begins with: registry:5000/name.",
  flags: [
    {
      name: "filter",
      short: "f",
      kind: "filter",
      description: 'Filter output based on conditions provided ("is-official=true", "stars=3")',
    },
    { name: "format", kind: "string", description: "Pretty-print search using a Go template" },
    { name: "limit", kind: "int", default: 0, description: "Max number of search results" },
    { name: "no-trunc", kind: "bool", description: "Don't truncate output" },
  ],
  arguments: { min: 1, max: 1 },
  run: search,
};

interface Found {
  readonly name: string;
  readonly description: string;
  readonly star_count: number;
  readonly is_official: boolean;
}

const table = String.raw`{{.Name}}\t{{.Description}}\t{{.StarCount}}\t{{.IsOfficial}}`;
const headers = { Name: "NAME", Description: "DESCRIPTION", StarCount: "STARS", IsOfficial: "OFFICIAL" };

async function search({ flags, args, client }: Invocation): Promise<number> {
  const [term = ""] = args;
  const engine = await client();
  const found = await engine.json<Found[]>("GET", "/images/search", {
    query: { term, limit: flags.number("limit") || undefined, filters: encodeFilters(flags.list("filter")) },
    headers: await authHeader(term),
  });
  const truncate = !flags.bool("no-trunc");
  await printListing({
    format: flags.string("format"),
    table,
    headers,
    rows: found.map((result) => {
      const description = result.description.replaceAll(/[\r\n]/g, " ");
      return {
        [goType]: "*formatter.searchContext",
        Name: result.name,
        Description: truncate ? ellipsis(description, descriptionCharacters) : description,
        StarCount: String(result.star_count),
        IsOfficial: result.is_official ? "[OK]" : "",
      };
    }),
  });
  return 0;
}
