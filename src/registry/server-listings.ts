import { mediaTypes } from "../spec/index.ts";
import { requireDigest } from "./server-blobs.ts";
import { RegistryFailure } from "./server-failure.ts";
import { unknownRepository, type ManifestServices } from "./server-manifests.ts";

/** GET /v2/<name>/tags/list, paged by `n` and `last`, in byte order. `last` need not be a tag that exists. */
export function listTags({ records, limits }: ManifestServices, repository: string, query: URLSearchParams): Response {
  if (!records.hasRepository(repository)) throw unknownRepository(repository);
  const page = readPage(query, limits.pageEntries);
  const tags = records.tags(repository, { last: page.last, limit: page.size + 1 });
  const shown = tags.slice(0, page.size);
  const headers = nextLink(`/v2/${repository}/tags/list`, { page, last: shown.at(-1), more: tags.length > page.size });
  return Response.json({ name: repository, tags: shown }, { headers });
}

/** GET /v2/_catalog, which the specification reserves for history and clients still ask for: `allowed` hides what the asker may not pull. */
export function listRepositories(
  { records, limits }: ManifestServices,
  query: URLSearchParams,
  allowed: (repository: string) => boolean,
): Response {
  const page = readPage(query, limits.pageEntries);
  const shown: string[] = [];
  let last = page.last;
  let more = false;
  while (!more) {
    const names = records.repositories({ last, limit: limits.pageEntries });
    for (const name of names.filter(allowed)) {
      if (shown.length === page.size) more = true;
      else shown.push(name);
      if (more) break;
    }
    if (names.length < limits.pageEntries) break;
    last = names.at(-1) ?? last;
  }
  return Response.json(
    { repositories: shown },
    { headers: nextLink("/v2/_catalog", { page, last: shown.at(-1), more }) },
  );
}

/** GET /v2/<name>/referrers/<digest>: an index of the manifests about it, which is empty where there are none. */
export function listReferrers(
  { records, limits }: ManifestServices,
  { repository, digest, query }: { repository: string; digest: string; query: URLSearchParams },
): Response {
  requireDigest(digest);
  const artifactType = query.get("artifactType") ?? undefined;
  const page = readPage(query, limits.pageEntries);
  const found = records.referrers(repository, { subject: digest, artifactType, last: page.last, limit: page.size + 1 });
  const shown = found.slice(0, page.size);
  const manifests = shown.map(({ mediaType, digest, size, artifactType, annotations }) => ({
    mediaType,
    digest,
    size,
    ...(artifactType === null ? {} : { artifactType }),
    ...(annotations === null ? {} : { annotations: JSON.parse(annotations) as unknown }),
  }));
  const more = found.length > page.size;
  const extra = artifactType === undefined ? {} : { artifactType };
  const headers: Record<string, string> = {
    "Content-Type": mediaTypes.ociIndex,
    ...nextLink(`/v2/${repository}/referrers/${digest}`, { page, last: shown.at(-1)?.digest, more, extra }),
  };
  if (artifactType !== undefined) headers["OCI-Filters-Applied"] = "artifactType";
  return new Response(JSON.stringify({ schemaVersion: 2, mediaType: mediaTypes.ociIndex, manifests }), { headers });
}

interface Page {
  readonly size: number;
  readonly last: string;
}

function readPage(query: URLSearchParams, limit: number): Page {
  const n = query.get("n");
  if (n !== null && !/^\d{1,9}$/.test(n)) {
    throw new RegistryFailure("PAGINATION_NUMBER_INVALID", `n is "${n.slice(0, 50)}", which is no number of entries`, {
      status: 400,
    });
  }
  return { size: n === null ? limit : Math.min(Number(n), limit), last: query.get("last") ?? "" };
}

function nextLink(
  path: string,
  {
    page,
    last,
    more,
    extra = {},
  }: { page: Page; last: string | undefined; more: boolean; extra?: Record<string, string> },
): Record<string, string> {
  if (!more || last === undefined) return {};
  const query = new URLSearchParams({ ...extra, n: String(page.size), last });
  return { Link: `<${path}?${query.toString()}>; rel="next"` };
}
