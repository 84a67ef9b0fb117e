import {
  mediaTypes,
  parseReference,
  familiarString,
  withDefaultTag,
  type Descriptor,
  type Index,
  type Manifest,
  type Platform,
} from "../spec/index.ts";
import type { Lease } from "../content/index.ts";
import {
  attestationEntry,
  attestationManifest,
  attestationTypes,
  documentBytes,
  emptyConfig,
  type ManifestBytes,
  type StatementBlob,
} from "./attestation-manifest.ts";
import { createImage } from "./create-image.ts";
import { maxConfigBytes } from "./image-config.ts";
import { getImage } from "./image-lookup.ts";
import { imageUrl } from "./image-url.ts";
import type { ImageRecord, ImageServices } from "./image-record.ts";
import { statement } from "./in-toto-statement.ts";
import { maxPredicateBytes } from "./push-attestations.ts";
import { blobOf } from "./push-layer.ts";
import { layerType } from "./push-manifest.ts";
import { tagImage } from "./tag-image.ts";

/** An image that an index is to hold, and how a manifest of it is found there. */
interface Member {
  readonly image: ImageRecord;
  readonly platform: Platform;
  readonly manifest: Descriptor;
  readonly blobs: readonly Descriptor[];
  readonly attestation: (ManifestBytes & { readonly attached: readonly string[] }) | undefined;
}

/** See `ImageStore.createIndex`. */
export async function createIndex(
  services: ImageServices,
  ids: readonly string[],
  { names, signal }: { names: readonly string[]; signal: AbortSignal },
): Promise<Descriptor> {
  using lease = services.content.lease("create index");
  using hold = services.holds.hold("create index");
  const context = { services, lease, signal, name: names[0] };
  const members: Member[] = [];
  for (const id of ids) {
    const image = getImage(services.table, id);
    hold.add(image.chainId);
    members.push(await memberOf(context, image));
  }
  const index = documentBytes(indexOf(members), mediaTypes.ociIndex);
  await keep(context, index);
  for (const [position, member] of members.entries()) {
    const { image, manifest, platform, blobs, attestation } = member;
    const isLast = position === members.length - 1;
    await createImage(services, services.content.readBytes(image.id, maxConfigBytes), {
      layers: image.layers.map(({ chainId }) => chainId),
      blobs,
      indexed: { indexes: [index.descriptor], manifest, platform, attached: attestation?.attached ?? [] },
      // Named once it is whole.
      ...(isLast && names[0] !== undefined ? { reference: names[0] } : {}),
    });
  }
  for (const name of names.slice(1)) {
    const { tag = "latest", ...repository } = withDefaultTag(parseReference(name));
    tagImage(services.table, names[0] ?? name, { repository: familiarString(repository), tag });
  }
  return index.descriptor;
}

interface Context {
  readonly services: ImageServices;
  readonly lease: Lease;
  readonly signal: AbortSignal;
  readonly name: string | undefined;
}

async function memberOf(context: Context, image: ImageRecord): Promise<Member> {
  const { services } = context;
  const blobs: Descriptor[] = [];
  for (const layer of image.layers) {
    const blob = await blobOf(context, layer);
    context.lease.add(blob.digest);
    blobs.push(blob);
  }
  context.lease.add(image.id);
  const manifest: Manifest = {
    schemaVersion: 2,
    mediaType: mediaTypes.ociManifest,
    config: { mediaType: mediaTypes.ociConfig, digest: image.id, size: services.content.sizeOf(image.id) },
    layers: blobs.map(({ mediaType, digest, size }) => ({ mediaType: layerType(mediaType, true), digest, size })),
  };
  const made = documentBytes(manifest, mediaTypes.ociManifest);
  await keep(context, made);
  const { os, architecture, variant } = image.config;
  const platform: Platform = { architecture, os, ...(variant ? { variant } : {}) };
  const attestation = await attestationOf(context, { image, manifest: made.descriptor, platform });
  return { image, platform, manifest: made.descriptor, blobs, attestation };
}

/** What is attested of an image, as statements of its manifest. */
async function attestationOf(
  context: Context,
  { image, manifest, platform }: { image: ImageRecord; manifest: Descriptor; platform: Platform },
): Promise<Member["attestation"]> {
  const { services, lease, name } = context;
  const attestations = services.table.attestations.of(image.id);
  if (attestations.length === 0) return undefined;
  const { os, architecture, variant } = platform;
  const platformName = [os, architecture, ...(variant ? [variant] : [])].join("/");
  const subject = { digest: manifest.digest, name: name === undefined ? image.id : imageUrl(name, platformName) };
  const statements: StatementBlob[] = [];
  for (const { predicateType, predicate } of attestations) {
    const text = Buffer.from(services.content.readBytes(predicate.digest, maxPredicateBytes)).toString("utf8");
    const said = statement(predicateType, { subjects: [subject], predicate: JSON.parse(text) as object });
    const blob = documentBytes(said, attestationTypes.statement);
    await keep(context, blob);
    statements.push({ predicateType, blob: blob.descriptor });
  }
  lease.add(emptyConfig.descriptor.digest);
  await keep(context, emptyConfig);
  const made = attestationManifest(manifest, statements);
  await keep(context, made);
  const digests = statements.map(({ blob }) => blob.digest);
  return { ...made, attached: [emptyConfig.descriptor.digest, ...digests, made.descriptor.digest] };
}

async function keep({ services, lease }: Context, { bytes, descriptor }: ManifestBytes): Promise<void> {
  await services.content.ingestBytes(bytes, { mediaType: descriptor.mediaType, lease });
}

function indexOf(members: readonly Member[]): Index {
  const images = members.map(({ manifest, platform }) => ({ ...manifest, platform }));
  const attestations = members.flatMap(({ manifest, attestation }) =>
    attestation ? [attestationEntry(attestation.descriptor, manifest.digest)] : [],
  );
  return { schemaVersion: 2, mediaType: mediaTypes.ociIndex, manifests: [...images, ...attestations] };
}
