import { buildkitSentence } from "../../build/index.ts";
import { toEngineError } from "../../common/index.ts";
import { statusOf, StatusError, type StatusDetail } from "./grpc-status.ts";

/** A Dockerfile as a build read it. */
export interface BuildSource {
  readonly name: string;
  readonly text: string;
}

/** gRPC's "unknown": what BuildKit answers for a Dockerfile or a command that failed, whose sentence then stands alone. */
const unknownCode = 2;
const typeUrl = (name: string): string => `github.com/moby/buildkit/errdefs.${name}+json`;

/**
 * A build's error in BuildKit's words, with details from which clients print the lines of the Dockerfile (moby/buildkit,
 * solver/errdefs/errdefs.proto and util/grpcerrors: each a message in its JSON form).
 */
export function buildError(thrown: unknown, source: BuildSource | undefined): StatusError {
  if (thrown instanceof StatusError) return thrown;
  const error = toEngineError(thrown);
  const { vertex, line, endLine = line } = error.data;
  const details: StatusDetail[] = [];
  if (typeof vertex === "string") details.push(detail("Vertex", { digest: vertex }));
  const placed = source !== undefined && typeof line === "number" && typeof endLine === "number";
  if (placed) details.push(detail("Source", sourceDetail(source, { first: line, last: endLine })));
  const { code } = statusOf(error);
  const message = buildkitSentence(error);
  return new StatusError({ code: placed && code !== 1 ? unknownCode : code, message, details }, error);
}

function detail(name: string, value: unknown): StatusDetail {
  return { typeUrl: typeUrl(name), value: Buffer.from(JSON.stringify(value)) };
}

function sourceDetail({ name, text }: BuildSource, { first, last }: { first: number; last: number }): unknown {
  const ranges = [{ start: { line: first }, end: { line: last } }];
  const data = Buffer.from(linesAround(text, { first, last })).toString("base64");
  return { info: { filename: name, data, language: "Dockerfile" }, ranges };
}

const shownAround = 8;

/** Clients count lines from the top: those that nobody will see are left empty, since all of it goes into a header. */
function linesAround(text: string, { first, last }: { first: number; last: number }): string {
  const seen = (index: number): boolean => index + 1 >= first - shownAround && index + 1 <= last + shownAround;
  return text
    .split("\n")
    .slice(0, last + shownAround)
    .map((line, index) => (seen(index) ? line : ""))
    .join("\n");
}
