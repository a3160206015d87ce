"""Sentences of our own making, for corpora that are spoken by machine.

"few" words serve a voice that is to speak soonest: it learns those sentences and no others. "many" serve one
that is to say any text.
"""

import random
from collections.abc import Mapping

from model.data.corpora import CorpusError

FEW, MANY = "few", "many"
LENGTHS = {FEW: range(18, 33), MANY: range(18, 43)}  # characters of a sentence, about 1.1 to 2.3 or 3 seconds

TEMPLATES: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    FEW: {
        "en": (
            "the {adjective} {noun} {action}s {thing}.",
            "{adverb} the {noun} {state}s {place}.",
            "can the {noun} {action} {thing}?",
            "{adverb}, the {noun} {state}s {place}!",
        ),
        "ru": (
            "{adjective}ый {he} {action} {thing}.",
            "{adverb} {she} {state} {place}.",
            "где {he} {action} {thing}?",
            "{adjective}ая {she} {action} {thing}.",
            "{adverb} {he} {state} {place}!",
            "да, {she} {state} {place}.",
        ),
    },
    MANY: {
        "en": (
            "the {adjective} {who} {did} the {thing}.",
            "{name} {did} the {adjective} {thing}.",
            "did the {who} {do} the {thing}?",
            "{number} {plural} {went} {place}.",
            "we {did} the {thing} {time}.",
            "{name} and {name} {went} {place}.",
            "my {who} will {do} your {thing}.",
            "please {do} the {adjective} {thing}!",
            "why is the {thing} so {adjective}?",
            "{time}, the {who} {went} {adverb}.",
            "they never {do} {plural} {place}.",
            "it was {adjective} and {adjective} {time}.",
            "I think {name} {went} {place}.",
            "{plural} are {adverb} {adjective}.",
            "her {thing} and his {thing} are {adjective}.",
        ),
        "ru": (
            "{adjective}ый {he} {he_did} {thing}.",
            "{adjective}ая {she} {she_did} {thing}.",
            "{name} {he_went} {place}.",
            "где {he} {he_did} {thing}?",
            "{they} {they_went} {place}.",
            "мы {they_did} {thing} {time}.",
            "почему {she} {she_went} {time}?",
            "{time} я {will} {thing} {place}.",
            "{they} и {they} {they_went} {time}.",
            "{name}, {please} {thing}!",
            "{adjective}ые {they} {they_did} {thing}.",
            "{she} не {she_went} {place}.",
        ),
    },
}
WORDS: Mapping[str, Mapping[str, Mapping[str, str]]] = {
    FEW: {
        "en": {
            "adjective": "old, young, brave, happy, clever, grey, small, funny",
            "noun": "farmer, doctor, teacher, baker, king, queen, boy, girl, woman, cat, dog, fox, "
            "horse, bird, zebra, mouse, sheep, judge, child, nurse",
            "action": "paint, see, find, want, bring, love, hold, move, keep, draw",
            "thing": "a boat, the box, a jar, the book, a cup, the door, a hat, the key, a lamp, the map",
            "adverb": "today, often, now, always, slowly, quickly, soon, maybe, then, quietly",
            "state": "sleep, run, sing, wait, jump, dance, swim, walk, rest, play, work, sit",
            "place": "at home, in town, on a hill, in a park, at noon, all day, at night, near us, "
            "outside, with joy, by the sea, up here",
        },
        "ru": {
            "adjective": "стар, добр, умн, смел, сер, весёл, хитр, юн",
            "he": "брат, кот, дед, врач, мастер, сосед, поэт, ёж, царь, певец",
            "she": "сестра, кошка, мама, лиса, птица, девочка, бабушка, белка, хозяйка, щука",
            "action": "видит, ищет, рисует, любит, несёт, прячет, держит, находит, хочет, чинит",
            "thing": "дом, ключ, хлеб, мёд, зонт, шарф, флаг, мяч, книгу, лампу, чашку, ёлку",
            "adverb": "утром, сегодня, часто, снова, всегда, летом, вечером, тихо, иногда, опять",
            "state": "спит, поёт, гуляет, ждёт, сидит, играет, бежит, живёт, стоит, молчит, смеётся, "
            "отдыхает",
            "place": "в саду, дома, у реки, на горе, в лесу, под дождём, за окном, у подъезда, на площади",
        },
    },
    MANY: {
        "en": {
            "adjective": "old, young, brave, happy, clever, grey, small, funny, large, heavy, light, dark, "
            "bright, quiet, loud, warm, cold, fresh, sweet, bitter, strange, simple, empty, "
            "full, narrow, wide, deep, sharp, soft, rough, smooth, dry, wet, clean, dirty, "
            "cheap, rich, poor, strong, weak, tired, hungry, angry, gentle, famous, useful, "
            "careful, early, green, yellow, purple, orange, square, round, thick, thin, huge, "
            "tiny, modern, local",
            "who": "farmer, doctor, teacher, baker, king, queen, boy, girl, woman, cat, dog, fox, "
            "horse, bird, zebra, mouse, sheep, judge, child, nurse, uncle, brother, sister, "
            "mother, father, cousin, neighbor, student, driver, pilot, sailor, soldier, "
            "painter, writer, singer, dancer, lawyer, butcher, guard, thief, tiger, monkey, "
            "rabbit, chicken, turkey, eagle, spider, dolphin, guest, captain",
            "thing": "boat, box, jar, book, cup, door, hat, key, lamp, map, window, garden, kitchen, "
            "table, chair, bottle, basket, mirror, hammer, ladder, ticket, letter, picture, "
            "pencil, paper, camera, bridge, church, castle, station, village, river, "
            "mountain, valley, forest, island, ocean, weather, thunder, shadow, pocket, "
            "jacket, shirt, glove, shoe, blanket, pillow, button, butter, cheese, bread, "
            "soup, sugar, coffee, lemon, onion, potato, cherry, orange, engine, wheel, "
            "machine, question, answer, story, music, dream, future, voice, word, world, "
            "joke, vision, treasure, measure, bath, thumb, fire, year, hour, tower, oil, toy, "
            "choice, house, cow",
            "did": "painted, saw, found, wanted, brought, loved, held, moved, kept, drew, bought, "
            "sold, lost, carried, opened, closed, broke, fixed, watched, washed, dropped, "
            "counted, touched, cleaned, covered, followed, changed, chose, caught, threw, "
            "pushed, pulled, measured, needed, noticed, ordered, packed, reached, remembered, "
            "showed, shared, stole, taught, used, wrapped, enjoyed",
            "do": "paint, see, find, want, bring, love, hold, move, keep, draw, buy, sell, lose, "
            "carry, open, close, break, fix, watch, wash, drop, count, touch, clean, cover, "
            "follow, change, choose, catch, throw, push, pull, measure, need, notice, order, "
            "pack, reach, remember, show, share, use, wrap",
            "went": "slept, ran, sang, waited, jumped, danced, swam, walked, rested, played, worked, "
            "sat, laughed, cried, smiled, talked, fell, stood, stayed, arrived, hid, "
            "listened, met, studied, traveled, argued, cooked, froze, shouted, whispered",
            "plural": "children, people, friends, teachers, horses, birds, windows, doors, houses, "
            "bridges, flowers, apples, oranges, cherries, glasses, knives, wolves, watches, "
            "boxes, judges, stories, ships, trucks, clouds, stars, leaves, songs, thoughts, "
            "months, clothes, fish, women, things, boys, voices, languages",
            "number": "one hundred, two, three, four, five, six, seven, eight, nine, ten, eleven, "
            "twelve, thirteen, fifteen, twenty, thirty, forty, sixty, seventy, a thousand, "
            "some, many, most, both, all, few, other, these, those, our, their, such",
            "name": "Anna, Ben, Clara, David, Emma, Frank, Grace, Henry, Julia, Kevin, Laura, Martin, "
            "Nora, Oliver, Peter, Rachel, Sam, Tom, Victor, Wendy, George, Joy, Roy, Hugh, "
            "Ruth, Keith",
            "adverb": "often, always, slowly, quickly, quietly, really, hardly, nearly, usually, just, "
            "too, well, again, together, alone, perhaps, suddenly, still, very, rather",
            "time": "today, now, then, soon, at noon, all day, at night, last week, this morning, "
            "tomorrow, on Monday, in July, in winter, for an hour, since August, before "
            "dinner, after school, once more, by then, this year, every spring, yesterday",
            "place": "at home, in town, on a hill, in a park, near us, outside, with joy, by the sea, "
            "up here, under the bridge, behind the house, at the church, in the rain, through "
            "the woods, with them, without shoes, above the clouds, between two trees, in "
            "both rooms, along the shore, in front of you, over there, at the airport, on the "
            "roof, around the fire",
        },
        "ru": {
            "adjective": "стар, добр, умн, смел, сер, весёл, хитр, юн, бел, чёрн, красн, нов, быстр, мудр, "
            "сильн, слаб, богат, бедн, голодн, храбр, честн, важн, грустн, сонн, толст, "
            "кругл, тёмн, светл, тёпл, холодн, жёлт, зелён, скромн, странн, опасн, верн",
            "he": "брат, кот, дед, врач, мастер, сосед, поэт, ёж, царь, певец, учитель, отец, сын, "
            "друг, доктор, повар, рыбак, солдат, моряк, лётчик, художник, волк, медведь, "
            "заяц, конь, воробей, гость, ученик, человек, мальчик, пёс, слон, жук, шофёр, "
            "судья, хозяин",
            "she": "сестра, кошка, мама, лиса, птица, девочка, бабушка, белка, хозяйка, щука, дочь, "
            "тётя, подруга, ворона, собака, корова, мышь, рыба, жена, внучка, певица, "
            "соседка, учительница, женщина, королева, утка, пчела, черепаха, лошадь, овца",
            "they": "дети, люди, друзья, гости, птицы, коты, волки, соседи, врачи, братья, сёстры, "
            "девочки, мальчики, рыбаки, солдаты, студенты, музыканты, лошади, утки, учителя, "
            "цыплята, ёжики, туристы, юноши",
            "name": "Иван, Пётр, Антон, Юрий, Фёдор, Михаил, Сергей, Алексей, Николай, Виктор, Егор, "
            "Павел, Борис, Игорь, Гриша, Миша, Яша, Лёва, Эдик, Женя",
            "he_did": "видел, искал, рисовал, любил, нёс, прятал, держал, нашёл, хотел, чинил, купил, "
            "продал, открыл, закрыл, сломал, вымыл, бросил, поймал, забыл, украл, показал, "
            "взял, вернул, съел, измерил, заметил, принёс, испёк",
            "she_did": "видела, искала, рисовала, любила, несла, прятала, держала, нашла, хотела, "
            "чинила, купила, продала, открыла, закрыла, сломала, вымыла, бросила, поймала, "
            "забыла, украла, показала, взяла, вернула, съела, измерила, заметила, принесла, "
            "испекла",
            "they_did": "видели, искали, рисовали, любили, несли, прятали, держали, нашли, хотели, "
            "чинили, купили, продали, открыли, закрыли, сломали, вымыли, бросили, поймали, "
            "забыли, украли, показали, взяли, вернули, съели, измерили, заметили, принесли, "
            "испекли",
            "will": "увижу, найду, нарисую, принесу, спрячу, куплю, продам, открою, закрою, починю, "
            "вымою, брошу, поймаю, покажу, возьму, верну, съем, измерю, куплю, испеку",
            "please": "найди, нарисуй, принеси, спрячь, купи, продай, открой, закрой, почини, вымой, "
            "брось, поймай, покажи, возьми, верни, съешь, измерь",
            "he_went": "спал, пел, гулял, ждал, сидел, играл, бежал, жил, стоял, молчал, смеялся, "
            "отдыхал, работал, плакал, шёл, ехал, плавал, танцевал, думал, кричал, учился, "
            "прыгал",
            "she_went": "спала, пела, гуляла, ждала, сидела, играла, бежала, жила, стояла, молчала, "
            "смеялась, отдыхала, работала, плакала, шла, ехала, плавала, танцевала, думала, "
            "кричала, училась, прыгала",
            "they_went": "спали, пели, гуляли, ждали, сидели, играли, бежали, жили, стояли, молчали, "
            "смеялись, отдыхали, работали, плакали, шли, ехали, плавали, танцевали, думали, "
            "кричали, учились, прыгали",
            "thing": "дом, ключ, хлеб, мёд, зонт, шарф, флаг, мяч, книгу, лампу, чашку, ёлку, стол, "
            "стул, окно, письмо, яблоко, грушу, рубашку, шапку, сумку, газету, картину, "
            "машину, лодку, тарелку, ложку, вилку, нож, сахар, чай, кофе, молоко, сыр, масло, "
            "рыбу, цветок, дерево, камень, верёвку, фонарь, билет, деньги, часы, щётку, "
            "подушку, одеяло, игрушку, песню, сказку, шляпу, кольцо, зеркало, пальто, жакет, "
            "юбку, цепь, этаж, объект, подъём",
            "time": "утром, сегодня, часто, снова, всегда, летом, вечером, тихо, иногда, опять, "
            "вчера, днём, ночью, зимой, осенью, весной, весь день, очень долго, в пятницу, "
            "потом, сначала, скоро, в июле, поздно, вместе, давно",
            "place": "в саду, дома, у реки, на горе, в лесу, под дождём, за окном, у подъезда, на "
            "площади, в городе, на улице, у моря, на крыше, под мостом, в школе, за столом, в "
            "поезде, на кухне, у двери, в цирке, на севере, в музее, около дома, возле озера, "
            "в деревне, среди цветов",
        },
    },
}


def sentences(language: str, count: int, seed: int, words: str = FEW) -> list[str]:
    """`count` distinct sentences with words of about equal frequency; a longer list begins with the shorter.

    Raises CorpusError for an unknown language, or more sentences than there are.
    """
    if language not in TEMPLATES[words]:
        raise CorpusError(f"no sentences in language {language!r}; known: {', '.join(TEMPLATES[words])}")
    templates = TEMPLATES[words][language]
    draw = _Decks(WORDS[words][language], random.Random(f"{language} {seed}"))
    found: dict[str, None] = {}  # a set that keeps its order
    fruitless = 0
    while len(found) < count:
        text = templates[len(found) % len(templates)].format_map(draw)
        if len(text) in LENGTHS[words] and (text := text[0].upper() + text[1:]) not in found:
            found[text] = None
            fruitless = 0
        elif (fruitless := fruitless + 1) > 1000:
            raise CorpusError(f"only about {len(found)} distinct {language} sentences exist, not {count}")
    return list(found)


class _Decks:
    """Draws words of each kind like cards from a deck: all of them once before any comes again."""

    def __init__(self, words: Mapping[str, str], dealer: random.Random) -> None:
        self._words = {kind: listed.split(", ") for kind, listed in words.items()}
        self._decks: dict[str, list[str]] = {kind: [] for kind in words}
        self._dealer = dealer

    def __getitem__(self, kind: str) -> str:
        if not self._decks[kind]:
            self._decks[kind] = self._dealer.sample(self._words[kind], len(self._words[kind]))
        return self._decks[kind].pop()
