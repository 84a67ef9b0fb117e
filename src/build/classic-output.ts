import { shortId } from "../common/index.ts";
import type { ProgressMessage } from "../spec/index.ts";
import type { StepEvent } from "./step-events.ts";

/** Renders a build's events as Docker's classic builder prints them (the wording of Docker Engine 20.10 and 23). */
export class ClassicOutput {
  // One decoder a stream: a character may be split between two pieces.
  readonly #decoders = { stdout: new TextDecoder(), stderr: new TextDecoder() };

  render(event: StepEvent): ProgressMessage | undefined {
    switch (event.type) {
      case "step":
        return { stream: `Step ${event.number}/${event.total} : ${event.title}\n` };
      case "note":
        return { stream: event.text };
      case "cached":
        return { stream: " ---> Using cache\n" };
      case "container":
        return { stream: ` ---> Running in ${shortId(event.id)}\n` };
      case "output": {
        const text = this.#decoders[event.stream].decode(event.data, { stream: true });
        if (text === "") return undefined;
        return { stream: event.stream === "stdout" ? text : `\u001b[91m${text}\u001b[0m` };
      }
      case "containerRemoved":
        return { stream: `Removing intermediate container ${shortId(event.id)}\n` };
      case "image":
        return { stream: ` ---> ${shortId(event.id)}\n` };
      case "stage":
        return event.imageId === "" ? undefined : { aux: { ID: event.imageId } };
    }
  }
}
