import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { GrpcFailure } from "./buildkit-peer.ts";

/** A context: files by path, the Dockerfile among them. */
export function contextIn(
  root: string,
  files: Readonly<Record<string, string>>,
): { context: string; dockerfile: string } {
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(join(root, path, ".."), { recursive: true });
    writeFileSync(join(root, path), text);
  }
  return { context: root, dockerfile: root };
}

/** What a call that must fail fails by. */
export async function failureOf(build: Promise<unknown>): Promise<GrpcFailure> {
  try {
    await build;
  } catch (error) {
    if (error instanceof GrpcFailure) return error;
    throw error;
  }
  throw new Error("The build went through");
}
