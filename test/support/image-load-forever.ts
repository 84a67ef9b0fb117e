// A program for tests to kill: makes, loads and removes images under the folder given, again and again.
import { collectBytes, collectMessages, once, openImages } from "./image-fixture.ts";

const [, , folder = ""] = process.argv;
const { images } = openImages(folder);
await collectMessages(images.fromHost("source", ["true"]));
const archive = await collectBytes(await images.save(["source"]));
process.stdout.write("ready\n");
for (;;) {
  await images.remove("source", { force: true, noPrune: false, usedBy: () => [] });
  await collectMessages(images.load(once(archive), { quiet: true }));
}
