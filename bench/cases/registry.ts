import { pushBlob } from "../../test/support/registry-calls.ts";
import { interleaved, median, type Figure } from "../figures.ts";
import { peakMegabytes } from "../memory.ts";
import { loadRegistry } from "../registry-load.ts";
import { startRegistries, type RegistryPeers } from "../registry-peers.ts";

const largeMegabytes = 256;
const rounds = 7;
const manifestConnections = 32;
const manifestRequests = 4000;
const transfersAtOnce = 8;
const pushMegabytes = 32;

/** One large blob, from its folder to the client, over one connection. */
export async function registryDownload(): Promise<Figure> {
  await using registries = await startRegistries(largeMegabytes * 1024 ** 2);
  const path = `/v2/team/app/blobs/${registries.largeBlob}`;
  const series = await interleaved(contestants(registries, path, { connections: 1, requests: 1 }), { rounds });
  const rates = series.map(({ engine, samples }) => {
    return `${engine} ${((largeMegabytes * 1024 ** 2) / 1e6 / (median(samples) / 1000)).toFixed(0)} MB/s`;
  });
  return {
    title: `Registry: download of a blob of ${largeMegabytes} MiB`,
    unit: "ms",
    series,
    target: { ratioAtMost: 1 },
    remarks: [rates.join(", "), ...remarks(registries)],
  };
}

/** Many small manifests by tag, over 32 connections. */
export async function registryManifests(): Promise<Figure> {
  await using registries = await startRegistries(1024 ** 2);
  const load = { connections: manifestConnections, requests: manifestRequests };
  const series = await interleaved(contestants(registries, "/v2/team/app/manifests/v1", load), { rounds });
  const rates = series.map(({ engine, samples }) => {
    return `${engine} ${(manifestRequests / (median(samples) / 1000)).toFixed(0)} a second`;
  });
  return {
    title: `Registry: ${manifestRequests} GETs of a small manifest, ${manifestConnections} connections`,
    unit: "ms",
    series,
    target: { ratioAtMost: 1 / 1.5 },
    remarks: [rates.join(", "), ...remarks(registries)],
  };
}

function contestants(
  { ours, debian }: RegistryPeers,
  path: string,
  load: { connections: number; requests: number },
): Record<string, () => Promise<void>> {
  return {
    vitrine: () => loadRegistry(`${ours.url}${path}`, load),
    ...(typeof debian === "string" ? {} : { "docker-registry": () => loadRegistry(`${debian.url}${path}`, load) }),
  };
}

function remarks({ debian }: RegistryPeers): string[] {
  return typeof debian === "string" ? [`SKIPPED PEER: ${debian}`] : [];
}

/** Several large pushes at once, then several downloads at once: the most that each held of the machine's memory since its start. */
export async function registryMemory(): Promise<Figure> {
  await using registries = await startRegistries(largeMegabytes * 1024 ** 2);
  const { ours, debian, largeBlob } = registries;
  const peers = { vitrine: ours, ...(typeof debian === "string" ? {} : { "docker-registry": debian }) };
  const series: Figure["series"][number][] = [];
  for (const [engine, { url, pid }] of Object.entries(peers)) {
    const pushes = Array.from({ length: transfersAtOnce }, async (_, n) => {
      const answer = await pushBlob(url, "team/app", new Uint8Array(pushMegabytes * 1024 ** 2).fill(n));
      if (answer.status !== 201) throw new Error(`${engine} answers a push with ${answer.status}`);
    });
    await Promise.all(pushes);
    const load = { connections: transfersAtOnce, requests: transfersAtOnce };
    await loadRegistry(`${url}/v2/team/app/blobs/${largeBlob}`, load);
    series.push({ engine, samples: [peakMegabytes(pid)] });
  }
  return {
    title: `Registry: peak memory after ${transfersAtOnce} pushes of ${pushMegabytes} MiB and ${transfersAtOnce} downloads of ${largeMegabytes} MiB at once`,
    unit: "MB",
    series,
    remarks: remarks(registries),
  };
}
