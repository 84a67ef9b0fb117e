import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

export interface SmallImage {
  readonly manifest: Uint8Array<ArrayBuffer>;
  readonly manifestDigest: string;
  /** Config and layers by digest. */
  readonly blobs: ReadonlyMap<string, Uint8Array<ArrayBuffer>>;
}

const types = {
  manifest: "application/vnd.oci.image.manifest.v1+json",
  config: "application/vnd.oci.image.config.v1+json",
  layer: "application/vnd.oci.image.layer.v1.tar+gzip",
};

export function sha256(bytes: Uint8Array): string {
  return `sha256:${new Bun.CryptoHasher("sha256").update(bytes).digest("hex")}`;
}

/** An OCI image of one layer with one file, written out by the specification; `text` makes it another image. */
export function smallImage(text: string, extra: Record<string, unknown> = {}): SmallImage {
  const tar = tarOf("hello.txt", Buffer.from(text));
  const layer = new Uint8Array(Bun.gzipSync(tar));
  const config = json({
    architecture: process.arch === "arm64" ? "arm64" : "amd64",
    os: "linux",
    config: { Cmd: ["/hello"] },
    rootfs: { type: "layers", diff_ids: [sha256(tar)] },
    history: [{ created: "2020-01-01T00:00:00Z", created_by: "a test" }],
  });
  const manifest = json({
    schemaVersion: 2,
    mediaType: types.manifest,
    config: { mediaType: types.config, digest: sha256(config), size: config.length },
    layers: [{ mediaType: types.layer, digest: sha256(layer), size: layer.length }],
    ...extra,
  });
  const blobs = new Map([config, layer].map((bytes) => [sha256(bytes), bytes]));
  return { manifest, manifestDigest: sha256(manifest), blobs };
}

/** Writes it as an OCI layout, which skopeo reads by `oci:FOLDER:TAG`. */
export function writeLayout(folder: string, { image, tag }: { image: SmallImage; tag: string }): void {
  const blobs = join(folder, "blobs", "sha256");
  mkdirSync(blobs, { recursive: true });
  for (const bytes of [...image.blobs.values(), image.manifest])
    writeFileSync(join(blobs, sha256(bytes).slice(7)), bytes);
  writeFileSync(join(folder, "oci-layout"), JSON.stringify({ imageLayoutVersion: "1.0.0" }));
  const entry = {
    mediaType: types.manifest,
    digest: image.manifestDigest,
    size: image.manifest.length,
    annotations: { "org.opencontainers.image.ref.name": tag },
  };
  writeFileSync(join(folder, "index.json"), JSON.stringify({ schemaVersion: 2, manifests: [entry] }));
}

function json(value: unknown): Uint8Array<ArrayBuffer> {
  return new Uint8Array(Buffer.from(JSON.stringify(value)));
}

/** A ustar archive of one file (POSIX.1-1988). */
function tarOf(name: string, body: Uint8Array): Uint8Array<ArrayBuffer> {
  const header = Buffer.alloc(512);
  const octal = (value: number, digits: number): string => `${value.toString(8).padStart(digits, "0")}\0`;
  header.write(name, 0);
  header.write(octal(0o644, 7) + octal(0, 7) + octal(0, 7) + octal(body.length, 11) + octal(0, 11), 100);
  header.write("        0", 148);
  header.write("ustar\x0000", 257);
  header.write(
    `${header
      .reduce((sum, byte) => sum + byte, 0)
      .toString(8)
      .padStart(6, "0")}\0 `,
    148,
  );
  return new Uint8Array(Buffer.concat([header, body, Buffer.alloc(512 - (body.length % 512)), Buffer.alloc(1024)]));
}
