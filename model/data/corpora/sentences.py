"""Sentences of our own making, for corpora that are spoken by machine.

"few" words serve a voice that is to speak soonest: it learns those sentences and no others. "many" serve one
that is to say any text. "any" are no words: their syllables are those of the many, in every order, so that
sounds stand beside one another that hardly meet in some hundred words.
"""

import random
import re
from collections.abc import Callable, Mapping

from model.data.corpora import CorpusError

FEW, MANY, ANY = "few", "many", "any"
# Characters of a sentence, about 1.1 to 2.3 or 3 seconds.
LENGTHS = {FEW: range(18, 33), MANY: range(18, 43), ANY: range(18, 43)}
VOWELS = {"en": "aeiouy", "ru": "аеёиоуыэюя"}
INNER, WORDS_OF_ANY = (0, 0, 1, 1, 2), range(2, 6)  # syllables between a word's first and last; words
MARKS, COMMAS = "...?!", 0.3  # behind a sentence; the share with a comma behind the first word

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
            "{person} {ate} the {food} {past}.",
            "{person} opened the {opens} and {spoke}.",
            "we took the {vehicle} to the {where}.",
            "the {animal} is sleeping {near} the {furniture}.",
            "the weather is {weather} {now}.",
            "my {family} works at the {where} {now}.",
            "please close the {opens} {softly}.",
            "can {person} help me with the {task}?",
            "{person} will call you {future}.",
            "how much is the {color} {clothes}?",
            "she wore a {color} {clothes} {past}.",
            "it will {rain} {future}.",
            "the {family} of the {job} is {mood}.",
            "{person} and {person} are very {mood}.",
            "{person} has never been to the {where}.",
            "did you put my {thing} {near} the {furniture}?",
            "{number} {animal}s were running {outside}.",
            "he lost his {thing} at the {where}.",
            "the {job} {spoke} {softly}.",
            "do you want some {food} or {food}?",
            "{number} people waited {outside}.",
            "your {thing} is {near} the {furniture}.",
            "they have lived {outside} for {number} years.",
            "{future} I want to {do} {outside}.",
            "why are you so {mood} {now}?",
            "her {body} hurt after the long {task}.",
            "thank you for the {good} {thing}.",
            "the {good} {job} has a {color} {vehicle}.",
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
            "person": "Anna, Ben, Clara, David, Emma, Frank, Grace, Henry, Julia, Kevin, Laura, Martin, "
            "Nora, Oliver, Peter, Rachel, Sam, Thomas, Victor, Wendy, George, Alice, Robert, "
            "Susan, Michael, Joyce",
            "ate": "ate, cooked, bought, tasted, finished, ordered, enjoyed, made, brought, burned, "
            "sold, smelled, shared, dropped, chose",
            "food": "bread, soup, cheese, butter, chicken, fish, rice, salad, chocolate, coffee, "
            "milk, sugar, honey, fruit, juice, lemon cake, apple pie, orange juice, ice "
            "cream, fresh water, hot tea, potatoes, tomatoes, cherries, onions, eggs",
            "past": "yesterday, last night, this morning, on Monday, last summer, in July, after "
            "work, before lunch, two days ago, at noon, for breakfast, on Friday, in August, "
            "an hour ago",
            "future": "tomorrow, next week, tonight, on Sunday, next year, in the morning, after "
            "dinner, in an hour, soon, on Thursday, in January, at five, later, this weekend",
            "now": "today, now, this week, here, again, outside, in the north, these days, tonight, "
            "at the moment",
            "opens": "window, door, box, book, letter, bottle, garage, gate, kitchen, drawer, "
            "envelope, package, office, suitcase, cupboard, fridge",
            "spoke": "laughed, smiled, shouted, whispered, sang, listened, answered, waited, looked "
            "around, said hello, asked a question, told a joke, began to cry, turned around, "
            "sat down, stood up",
            "vehicle": "bus, train, boat, taxi, truck, bicycle, car, ship, plane, motorcycle, subway, horse",
            "where": "station, airport, beach, school, church, market, museum, office, library, "
            "hospital, bank, garden, village, castle, river, theater, bakery, factory, "
            "harbor, bridge, zoo, cinema, hotel, university, mountains, forest",
            "animal": "cat, dog, horse, bird, rabbit, tiger, monkey, chicken, elephant, lion, squirrel, "
            "puppy, cow, duck, zebra, goat, eagle",
            "near": "under, behind, near, beside, on, below, in front of, next to",
            "furniture": "table, chair, bed, sofa, desk, shelf, stove, carpet, mirror, lamp, piano, bench, "
            "blanket, pillow, fireplace, television",
            "weather": "nice, cold, warm, terrible, cloudy, rainy, windy, beautiful, hot, dry, foggy, "
            "strange, better, much worse",
            "family": "mother, father, sister, brother, uncle, aunt, cousin, daughter, son, wife, "
            "husband, grandmother, grandfather, neighbor, best friend",
            "softly": "quietly, slowly, quickly, carefully, right now, once more, for me, at once, very "
            "loudly, without a word, with a smile, in a low voice",
            "task": "homework, luggage, journey, dishes, project, question, machine, computer, "
            "engine, dinner, garden, exercise, meeting, lesson, test, work, race, concert",
            "color": "red, blue, green, yellow, white, black, brown, purple, grey, pink, golden, dark, "
            "light, silver, bright orange",
            "clothes": "shirt, dress, jacket, coat, hat, scarf, sweater, skirt, belt, ring, watch, "
            "glove, uniform, suit",
            "rain": "rain, snow, be cold, get dark, be over, be fine, be sunny, freeze, cost more, "
            "take long, happen, begin",
            "job": "farmer, doctor, teacher, baker, king, queen, judge, nurse, student, driver, "
            "pilot, sailor, soldier, painter, writer, singer, lawyer, butcher, captain, "
            "policeman, thief, boy, girl, child",
            "mood": "happy, sad, tired, hungry, angry, proud, busy, quiet, nervous, young, old, "
            "strong, clever, famous, healthy, thirsty, polite, curious, brave, lazy, sleepy, "
            "honest",
            "thing": "key, phone, wallet, pencil, ticket, umbrella, camera, newspaper, picture, knife, "
            "cup, map, toy, guitar, passport, basket, hammer, story, present, advice, music, "
            "money, glasses, paper, shoes, voice message",
            "number": "two, three, four, five, six, seven, eight, nine, ten, eleven, twelve, thirteen, "
            "fifteen, twenty, thirty, forty, fifty, sixty, seventy, a hundred, many, several, "
            "a thousand",
            "outside": "in the park, by the sea, at home, in town, on the hill, in the rain, through the "
            "woods, near the lake, along the shore, in the street, across the field, at the "
            "corner, up here, around the house, in the city, between the trees, under the "
            "bridge, over there",
            "do": "swim, dance, play chess, sleep, walk, read, run, sing, take pictures, fly a "
            "kite, ride a horse, watch a movie, drive, fish, rest, meet my friends, sit down, "
            "paint",
            "body": "head, back, foot, hand, knee, shoulder, arm, leg, tooth, finger, throat, eyes, "
            "ears, neck",
            "good": "good, nice, lovely, wonderful, useful, wise, strange, small, large, new, cheap, "
            "funny, perfect, rich, kind, great",
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
    if language not in VOWELS:
        raise CorpusError(f"no sentences in language {language!r}; known: {', '.join(VOWELS)}")
    dealer = random.Random(f"{language} {seed}")
    draw = _of_syllables(language, dealer) if words == ANY else _of_words(language, words, dealer)
    found: dict[str, None] = {}  # a set that keeps its order
    fruitless = 0
    while len(found) < count:
        text = draw(len(found))
        if len(text) in LENGTHS[words] and (text := text[0].upper() + text[1:]) not in found:
            found[text] = None
            fruitless = 0
        elif (fruitless := fruitless + 1) > 1000:
            raise CorpusError(f"only about {len(found)} distinct {language} sentences exist, not {count}")
    return list(found)


def _of_words(language: str, words: str, dealer: random.Random) -> Callable[[int], str]:
    """Fills one template after another."""
    templates, decks = TEMPLATES[words][language], _Decks(WORDS[words][language], dealer)
    return lambda number: templates[number % len(templates)].format_map(decks)


def _of_syllables(language: str, dealer: random.Random) -> Callable[[int], str]:
    """A few made-up words and a mark. A syllable ends with its vowels, and the last one with the word."""
    kinds = WORDS[MANY][language].values()
    known = re.findall(r"\w+", " ".join(kinds).lower())
    inner = f"[^{VOWELS[language]}]*[{VOWELS[language]}]+"
    pieces = [re.findall(f"{inner}|[^{VOWELS[language]}]+$", word) for word in known]
    syllables: list[list[str]] = [found for found in pieces if len(found) > 1 and re.match(inner, found[0])]
    first, last = ([found[k] for found in syllables] for k in (0, -1))
    middle = [syllable for found in syllables for syllable in found[1:-1]] or first

    def word() -> str:
        more = "".join(dealer.choice(middle) for _ in range(dealer.choice(INNER)))
        return dealer.choice(first) + more + dealer.choice(last)

    def sentence(_: int) -> str:
        made = [word() for _ in range(dealer.choice(WORDS_OF_ANY))]
        if dealer.random() < COMMAS:
            made[0] += ","
        return " ".join(made) + dealer.choice(MARKS)

    return sentence


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
