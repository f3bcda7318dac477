import { useState } from "preact/hooks";
import { type Person, personButton } from "../contract";
import * as selections from "../selection";
import { Comparison } from "./comparison";
import { useDesk } from "./desk";
import { Dialog } from "./dialogs";
import { Icon } from "./icons";
import { Copy, Who } from "./person";

const FILE = "selection.csv";

interface Props {
  people: Person[];
  setPeople: (people: Person[]) => void;
  close: () => void;
}

/** The people set aside: to be handed on, or compared. */
export function Selection({ people, setPeople, close }: Props) {
  const { tap, select } = useDesk();
  const [comparing, setComparing] = useState(false);
  const [first, second] = people;
  if (comparing && first && second) {
    return (
      <Dialog title="Comparer" close={close} large>
        <Pair people={people} first={first} second={second} />
        <div class="actions">
          <button type="button" class="button" onClick={() => setComparing(false)}>
            Retour
          </button>
        </div>
      </Dialog>
    );
  }
  const text = people.map(selections.asText).join("\n\n");
  return (
    <Dialog title="Ma sélection" close={close} large>
      {people.length === 0 && (
        <p class="note">
          Retenez des personnes d’une réponse à l’autre par <Icon name="bookmark" />, puis
          partagez-les ou comparez-les ici.
        </p>
      )}
      <ul class="people">
        {people.map((person) => (
          <li key={person.id} class="selected">
            <button
              type="button"
              class="person-row"
              onClick={() => {
                close();
                tap(personButton(person));
              }}
            >
              <Who person={person} />
            </button>
            <button
              type="button"
              class="act"
              aria-label={`Ne plus retenir ${person.name}`}
              onClick={() => select(person)}
            >
              <Icon name="cross" />
            </button>
          </li>
        ))}
      </ul>
      {people.length > 0 && (
        <div class="actions">
          {second && (
            <button type="button" class="button" onClick={() => setComparing(true)}>
              <Icon name="compare" />
              Comparer
            </button>
          )}
          {"share" in navigator && (
            <button
              type="button"
              class="button"
              onClick={() => void navigator.share({ text }).catch(() => undefined)}
            >
              <Icon name="share" />
              Partager
            </button>
          )}
          <Copy class="button" text={text} label="Copier le texte" short="Texte" />
          <Copy
            class="button"
            text={selections.asLink(people)}
            label="Copier un lien vers cette sélection"
            short="Lien"
          />
          <button type="button" class="button" onClick={() => download(selections.asCsv(people))}>
            <Icon name="install" />
            CSV
          </button>
          <button type="button" class="button" onClick={() => setPeople([])}>
            <Icon name="trash" />
            Vider
          </button>
        </div>
      )}
    </Dialog>
  );
}

/** Two of them side by side, whichever. */
function Pair({ people, first, second }: { people: Person[]; first: Person; second: Person }) {
  const [pair, setPair] = useState([first, second]);
  const choose = (side: number, id: string) =>
    setPair(pair.map((one, index) => (index === side ? people.find((p) => p.id === id)! : one)));
  return (
    <>
      {people.length > 2 && (
        <div class="pair">
          {pair.map((chosen, side) => (
            <select
              key={side}
              aria-label={side === 0 ? "La première personne" : "La seconde personne"}
              value={chosen.id}
              onChange={(event) => choose(side, event.currentTarget.value)}
            >
              {people.map(({ id, name }) => (
                <option key={id} value={id} disabled={id === pair[1 - side]?.id}>
                  {name}
                </option>
              ))}
            </select>
          ))}
        </div>
      )}
      <Comparison people={pair} />
    </>
  );
}

function download(csv: string): void {
  const address = URL.createObjectURL(new Blob([csv], { type: "text/csv;charset=utf-8" }));
  const link = Object.assign(document.createElement("a"), { href: address, download: FILE });
  link.click();
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
}
