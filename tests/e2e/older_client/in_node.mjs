// Runs the journey in Node. Argument: its options as JSON. Prints what it answers.
import { journey } from "./journey.mjs";

process.stdout.write(JSON.stringify(await journey(JSON.parse(process.argv[2]))));
