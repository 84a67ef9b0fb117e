// Platforms of a build's stages. One without a name is this machine's.
import { readdirSync, readFileSync } from "node:fs";
import { EngineError } from "../common/index.ts";
import { hostPlatform, parsePlatform, platformText } from "../registry/index.ts";
import type { Platform } from "../spec/index.ts";

/** A platform's text as images have it; undefined for this machine's own. Throws for what is none, and for other systems than Linux. */
export function foreignPlatform(text: string | undefined): string | undefined {
  if (text === undefined || text === "") return undefined;
  const platform = parsePlatform(text);
  if (platform.os !== "linux") {
    throw new EngineError("unsupported", `The platform "${text}" cannot be built here: its system is not Linux`);
  }
  const here = hostPlatform();
  const isOwn = platform.variant === undefined || (here.architecture === "arm64" && platform.variant === "v8");
  return platform.architecture === here.architecture && isOwn ? undefined : platformText(platform);
}

/** What is said of a platform in an image's config. */
export function platformOfText(text: string | undefined): Platform {
  return text === undefined ? hostPlatform() : parsePlatform(text);
}

/** An image among those of a build: its reference, behind its platform where that is another than this machine's. */
export function imageKey({ reference, platform }: { reference: string; platform?: string | undefined }): string {
  return platform === undefined ? reference : `${platform} ${reference}`;
}

export function parseImageKey(key: string): { reference: string; platform: string | undefined } {
  const space = key.indexOf(" ");
  return space < 0
    ? { reference: key, platform: undefined }
    : { reference: key.slice(space + 1), platform: key.slice(0, space) };
}

/** Names of QEMU's emulators, which is what the kernel's entries are called by. */
const emulators: Readonly<Record<string, string>> = {
  "386": "i386",
  amd64: "x86_64",
  arm: "arm",
  arm64: "aarch64",
  loong64: "loongarch64",
  mips64le: "mips64el",
  ppc64le: "ppc64le",
  riscv64: "riscv64",
  s390x: "s390x",
};

/**
 * Refuses commands of a platform whose programs this machine's kernel cannot start (Documentation/admin-guide/binfmt-misc.rst).
 * `folder` is that of the kernel's entries.
 */
export function requireRunnable(platform: string | undefined, folder = "/proc/sys/fs/binfmt_misc"): void {
  if (platform === undefined) return;
  const { architecture } = parsePlatform(platform);
  if (hostPlatform().architecture === "amd64" && architecture === "386") return;
  const emulator = `qemu-${emulators[architecture] ?? architecture}`;
  if (entriesIn(folder).some(({ name, text }) => name.startsWith(emulator) && isUsable(text))) return;
  throw new EngineError(
    "unsupported",
    `RUN for the platform "${platform}" needs an emulator, and the kernel of this machine has none registered: install "qemu-user-static" (or "qemu-user-binfmt") so that "${folder}/${emulator}" is there with the flag F; COPY and FROM --platform=$BUILDPLATFORM need none`,
  );
}

/** F: the kernel holds the emulator open, so that it need not be in the image. */
function isUsable(text: string): boolean {
  return text.startsWith("enabled") && /^flags: \w*F/m.test(text);
}

function entriesIn(folder: string): { name: string; text: string }[] {
  try {
    return readdirSync(folder).map((name) => ({ name, text: textOf(`${folder}/${name}`) }));
  } catch {
    return [];
  }
}

/** The kernel's file `register` can only be written. */
function textOf(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}
