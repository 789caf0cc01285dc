# ruff: noqa: E501  (patterns are kept whole, whatever their length)
"""Greetings, thanks, questions about itself, and requests outside its reach."""

from __future__ import annotations

from .grammar import Speaker, dress, roughen
from .names import noun, person, plural
from .task import Turn
from .tools import World

GREET = (
    "{Hi|Hello|Hey|Hi there|Hello there|Good morning|Good afternoon|Good day|Hallo|Bonjour|Hola|Guten "
    "Tag|Moin|Servus|Salut|Good evening|Greetings|Howdy|Ciao}{!|.||,}{ nano| Selenograph| you| "
    "my friend|||}{!|.|}",
    "{Hi|Hello|Hey}{!|,} {how are you|how is it going|how's it going|are you there|how do you do|nice "
    "to meet you|what's up|how are things|everything fine}{?|}",
    "{How are you|How is it going|Are you there|Nice to meet you|What's up|How do you feel|How are "
    "things}{ today| doing||}{?|}",
    "^{Hello|Hi} nano, nice to meet you{!|.}",
    "{Test|test, test|ping|Anybody there?|Is this working?|Do you hear me?|Are you awake?}",
)
GREET_BACK = "Hello! What can I do for you?"
THANK = (
    "{Thanks|Thank you|Thx|Many thanks|Great, thanks|Perfect, thank you|Thanks a lot|Danke|Merci|"
    "Gracias|Cool, thanks|Much obliged|Cheers|I appreciate it}{!|.||, bye| very much| for your "
    "help| for that| again}{!|.|}",
    "^{Thanks|Thank you}, nano, that was {great|helpful}!",
    "{That {was|is} {helpful|great|all|right|perfect|just right}|Well done|Good job|Great|Nice "
    "work|Perfect|Wonderful|OK, good|Splendid}{!|.|, thanks.|, thank you!}",
)
THANK_BACK = "You're welcome! Ask me any time."
BYE = (
    "{Bye|Goodbye|See you|See you later|Good night|Tschüss|Ciao|That's all, bye|Have a nice day|So "
    "long|Farewell|Until tomorrow}{!|.||, nano!}",
)
BYE_BACK = "Goodbye!"
WHO = (
    "{Who|What} are you{?|, please?|, exactly?|?}",
    "{What is|What's|Tell me} your name{?|.}",
    "{Tell me|Say something} about yourself{.|, please.}",
    "{Are you|You are} {a robot|an AI|a human|a computer|ChatGPT|Kimi|a person|a real person|a language "
    "model|a machine|some kind of bot}{?|}",
    "{Who|Which company} made you?",
    "{What kind of {model|AI|program|assistant}|Which model} are you?",
    "How {big|old|large|smart} are you?",
    "{Introduce yourself|Please introduce yourself}.",
    "^Please tell me who you are.",
    "What should I call you?",
    "Could you say a word about who you are?",
)
I_AM = (
    "I am nano, a very small model inside Selenograph. I can calculate, run short Python code and "
    "look things up in your notes."
)
WHAT = (
    "{What can you do|What can I ask you|What are you {good for|able to do}|How can you help{ me|}|What "
    "do you do|What are your {skills|tools|abilities}|In what way are you useful}{ for me||}{?|}",
    "{Help|help|Help me|What now}{!|?|.|}",
    "{Which tools do you have|What tools can you use|Show me what you can do|List your {tools|"
    "abilities|powers}}{?|.|}",
    "{Can you help me|I need help|I need some help}{?|.|}",
    "{What|Which} {things|tasks|questions} can you {do|handle|answer|deal with}?",
    "^I would like to know what you can do.",
    "Tell me what you are capable of.",
    "Give me an overview of what you can do.",
)
CAN = {
    "calculator": "calculate",
    "python": "run short Python code",
    "search_files": "look things up in your notes",
}
TOPICS = (
    "{spring|summer|autumn|winter|love|the sea|the moon|my cat|a dog|friendship|the rain|time|music|"
    "space|dragons|a <n1>|the <n1>|<N>|my <n1>|<n2>|our garden|the city|happiness|peace|the desert|"
    "ghosts|a lost key}"
)
PLACES = (
    "{Paris|London|Berlin|Rome|Madrid|Tokyo|New York|Vienna|Munich|France|Germany|Italy|Spain|Japan|"
    "China|India|Brazil|Egypt|Canada|Norway|Sweden|Poland|Austria|Mexico|Kenya|Lisbon|Peru|Dublin|"
    "Finland}"
)
OUTSIDE = (
    (
        "{Write|Compose|Make up|Make|Give me|Tell me|Create|I'd like|I want|Can you write|Could you "
        "write|Please write|Pen|Craft} {a|me a|a short|a nice|a funny|a long|an original} {poem|story|"
        "song|joke|rhyme|letter|speech|essay|novel|fairy tale|haiku|tale|riddle|limerick|sonnet|ballad|"
        "fable|lullaby} {about|on|for} " + TOPICS + "{.||, please.}"
    ),
    (
        "{Tell me|Do you know|Give me} {a joke|a story|something funny|a riddle|a fun fact|a "
        "secret|an anecdote}{.|, please.|?|}"
    ),
    (
        "{Write|Draft|Compose|Prepare|Type up} {an email|a mail|a letter|a message|an application|a "
        "reply|a tweet|a blog post|a complaint} {to|for} {my boss|<N>|the bank|my landlord|my aunt|"
        "the school|a client|the mayor}{.| about <n1>.| about my <n1>.}"
    ),
    (
        "{What is|What's|How is|How's|Tell me|What will be|Describe} the weather {in "
        + PLACES
        + "|"
        "today|tomorrow|like today|like in " + PLACES + "|this weekend|now|here|next week}{?|}"
    ),
    (
        "{Will it|Is it going to|Does it} {rain|snow|be sunny|be hot|be cold|freeze} {today|tomorrow|in "
        + PLACES
        + "|this weekend|on Sunday}{?|}"
    ),
    (
        "Who won {the|last} {world cup|football match|election|game yesterday|race|Oscar|match|final|"
        "league|lottery|tennis open|song contest|marathon|chess title}{ in 19<y2>| in 20<y2>| last "
        "year||}{?|}"
    ),
    (
        "{What is|What's|Tell me|Do you know} the {capital|population|currency|president|flag|"
        "language|area|king|largest city|anthem} of " + PLACES + "{?|}"
    ),
    (
        "{Who|When} {wrote|invented|discovered|painted|built|founded|designed} {the Mona Lisa|Hamlet|"
        "the telephone|America|penicillin|Faust|the Eiffel tower|radium|Rome|the light bulb|gravity|the "
        "first car|Don Quixote|the piano|the Colosseum}{?|}"
    ),
    (
        "{Who|What} {is|was} {Einstein|Napoleon|Mozart|Shakespeare|Cleopatra|Newton|Goethe|Picasso|Marie "
        "Curie|Bach|Gandhi|the pope|the president of " + PLACES + "|Galileo|Caesar}{?|}"
    ),
    (
        "{Translate|How do you say|What is|Say} {<q0><n1><q0>|<q0>good <n1><q0>|this text|this|the "
        "sentence|hello|I love my <n1>} {in|into|to} {French|German|Spanish|Italian|Latin|Chinese|"
        "Japanese|Russian|Greek|Dutch}{?|.}"
    ),
    (
        "{Draw|Paint|Sketch|Generate|Make|Create|Show|Design|Render} {me |}{a picture|an image|a logo|a "
        "photo|a drawing|a painting|a portrait} of {a <n1>|my <n1>|a cat|the sea|<N>|a house|two "
        "<X>}{.|, please.|}"
    ),
    (
        "{Book|Order|Buy|Reserve|Find|Get} {me |}{a flight|a hotel|a table|a pizza|a taxi|a train "
        "ticket|a room|a <n1>|two tickets|a cab|a massage} {to|in|for|near} {"
        + PLACES
        + "|tonight|"
        "two people|tomorrow|me}{.|, please.|}"
    ),
    (
        "{Call|Phone|Text|Message|Remind|Email|Ring} {my mother|<N>|me|my boss|the doctor|a plumber|my "
        "wife|grandma}{ tomorrow| at five| now| about the <n1>|}{.|, please.|}"
    ),
    (
        "{Play|Put on|Sing|Hum|Start} {some music|a song|my favourite song|jazz|some Mozart|a film|the "
        "radio|something nice|a waltz}{ for me|}{.|, please.|}"
    ),
    ("{What|How} {do you think|is your opinion|do you feel} {about|of|on} " + TOPICS + "{?|}"),
    (
        "{Who|Which team|Which party} {will win|is going to win|should win|is likely to win} the {next "
        "|}{election|game|cup|match|race|war}{?|}"
    ),
    (
        "{What|Which} {is the best|is a good|would you recommend as a} {film|book|restaurant|phone|car|"
        "diet|hotel|wine|laptop|doctor|game|school|podcast|pub} {in "
        + PLACES
        + "|for me|this year|to "
        "buy|for <N>}{?|}"
    ),
    (
        "{How do I|How can I|Teach me how to|Explain how to|How to} {cook <n1>|bake a cake|fix my <n1>|"
        "learn French|lose weight|sleep better|play chess|tie a tie|repair a <n1>|become rich|find a "
        "job|knit a sock|catch a fish}{?|}"
    ),
    (
        "{Explain|Describe|What is|Tell me about|Define} {quantum physics|relativity|photosynthesis|"
        "democracy|gravity|evolution|the Big Bang|inflation|love|the internet|DNA|philosophy|black "
        "holes|religion|art|electricity|volcanoes|chemistry|magnetism}{.||?| to me.| in simple words.}"
    ),
    (
        "{What is|What's|Tell me|Give me} {the latest news|the news|today's news|the headlines|the stock "
        "price of <N>|the bitcoin price|the price of gold|the exchange rate|the time|today's date|the "
        "score|the traffic|the gossip}{ today| now| in " + PLACES + "||}{?|.|}"
    ),
    (
        "{What time is it|What day is it|What's the date|Where am I|How late is it|What year is it}{ now| "
        "today| in " + PLACES + "|}{?|}"
    ),
    (
        "{Open|Start|Close|Install|Update} {the browser|Firefox|my email|the camera|the website|Excel|the "
        "app|Spotify|a new tab|the settings}{.|, please.|}"
    ),
    (
        "{Search|Look up|Google|Browse|Find on} the {web|internet|net} for {<n1>|cheap flights|<N>|a "
        "recipe|news|<X>|a used <n1>|gossip}{.||, please.}"
    ),
    (
        "{Give me|I need|Do you have|What is|Find} {a recipe for|a recipe with|a good way to make} {soup|"
        "cake|pizza|bread|pasta|<n1>|<X>|stew}{.|?|}"
    ),
    (
        "{I feel|I am|I'm} {sick|sad|lonely|ill|tired|dizzy|afraid|bored|worried}{.|, what should I "
        "do?|. What can I do?|. Which medicine helps?}"
    ),
    (
        "{Summarize|Summarise|Review|Correct|Rewrite|Proofread|Shorten} {this article|this book|my "
        "essay|the news|my text|the Bible|War and Peace|this chapter}{.|, please.|}"
    ),
    (
        "{Send|Delete|Move|Print|Upload|Download|Fax} {my files|a file|the photos|my <n1>|this page|an "
        "email|everything|the document}{ to <N>| now||}{.|, please.|}"
    ),
    (
        "{Write|Make|Create|Build|Program|Code|Develop} {me |}{a website|an app|a game|a program|a web "
        "page|a chatbot|a virus|an operating system|a browser}{ for my <n1>| in Java|  for <N>||}{.|}"
    ),
    "{What is the meaning of life|Is there a god|Do you dream|Do you love me|Can you see me|Marry "
    "me|Are you happy|Do you sleep|Do you have feelings}{?|}",
    "Plan a {holiday|trip|party} {in " + PLACES + "|for <N>}{.| for me, would you?}",
    "Turn {on|off} the {lights|heating|TV}{ in the kitchen|}.",
    "^I want you to {write a poem|draw a picture|play a song|book a flight}.",
    "^Do you know the weather in " + PLACES + "?",
    "^Would you {write me a story|order a pizza|call my mother}, please?",
    "^Tell me, who {won the world cup|wrote Hamlet|built the Eiffel tower}?",
    "How {tall|far|deep|heavy} is {the Eiffel tower|the moon|the ocean|an elephant}?",
    "Why {is the sky blue|do cats purr|is the sea salty|do we dream}?",
    "{Why|How come} {is the grass green|do birds sing|do we sleep|is ice cold|is the sun hot|do dogs "
    "bark|do people lie|are leaves green|do stars shine}{?|}",
    "How {tall|old|long|high|fast|big|heavy} is {Mount Everest|the Nile|the sun|the queen|a horse|a "
    "blue whale|the universe|the earth|the Great Wall|light|a car}{?|}",
    "Turn {up|down} the {music|volume|radio|heat}{.|, please.}",
    "{Where|When} {is|was} {<N> born|the next concert|Mozart born|the nearest bank|the next train|the "
    "North Pole|my phone|the war}{?|}",
)


def abilities(world: World) -> str:
    """What it can do with the tools at hand, as part of a sentence."""
    able = [said for tool, said in CAN.items() if tool in world.tools]
    if "search_files" not in world.tools and "read_file" in world.tools:
        able.append("read your notes")
    if not able:
        return "I have no tools here, so I can only say hello."
    listed = able[0] if len(able) == 1 else f"{', '.join(able[:-1])} and {able[-1]}"
    return f"I can {listed}."


SMALL = (
    (GREET, "A greeting. No tool is needed.", GREET_BACK, 1.0),
    (THANK, "The user says thanks. No tool is needed.", THANK_BACK, 0.7),
    (BYE, "The user says goodbye. No tool is needed.", BYE_BACK, 0.4),
    (WHO, "The user asks about me. No tool is needed.", I_AM, 0.9),
)
EXPECT = ("hello|hi", "welcome|glad", "goodbye|bye|see you", "nano")


def talk_task(speaker: Speaker, world: World) -> Turn:
    """Small talk or a request that it must decline."""
    rng = speaker.rng
    roll = rng.random()
    if roll < 0.25:
        at = rng.choices(range(len(SMALL)), [s[3] for s in SMALL])[0]
        asks, thought, answer, _ = SMALL[at]
        turn = Turn("greeting", roughen(speaker.pick(asks), rng))
        return turn.finish(thought, answer, EXPECT[at])
    if roll < 0.36:
        turn = Turn("greeting", roughen(speaker.pick(WHAT), rng))
        said = abilities(world)
        return turn.finish("The user asks what I can do. No tool is needed.", said, "can")
    thing = noun(rng)
    values = {
        "n1": thing,
        "n2": plural(noun(rng)),
        "X": plural(thing),
        "N": person(rng),
        "y2": f"{rng.randint(0, 99):02d}",
        "q0": rng.choice(("'", '"', "")),
    }
    turn = Turn("refusal", dress(speaker.pick(OUTSIDE), speaker, values))
    return turn.finish(
        "That is outside what I can do.", "I can't do that. " + abilities(world), "can't"
    )
