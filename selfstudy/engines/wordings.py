"""The words of the extractive engine, language by language: function words, and how each style asks."""

from dataclasses import dataclass

_FUNCTION_WORDS_OF = {
    "en": """a about above after again against all also although always am among an and another any are as at be
        because been before being below between both but by can cannot could did do does done down during each either
        else ever every few first for from further get give given gives go had has have having he her here hers him his
        how however i if in instead into is it its itself just keep kept last later least less let like made make makes
        many may me might mine more most much must my near need neither never next no nor not nothing now of off often
        on once one only or other others our out over own per put rather said same say says see seem seems set shall
        she should since so some still such take taken takes than that the their them then there these they this those
        though three through thus to together too toward two under until up upon us use used uses using very want was
        we well went were what when where whether which while who whole whom whose why will with within without would
        yet you your""",
    "de": """aber alle als am an auch auf aus bei beim bin bis bist da damit dann das dass dein dem den der des dessen
        die dies diese diesem diesen dieser dieses doch dort du durch ein eine einem einen einer eines er es etwas euch
        für gegen hat hatte hatten haben hier ich ihm ihn ihr ihre ihrem ihren ihrer im in ist jede jeder jedes kann
        kein keine können man mehr mit muss müssen nach nicht noch nur oder ohne sehr sein seine seinem seinen seiner
        sich sie sind so soll sollte über um und uns unter vom von vor war waren was weil wenn werden wie wieder wird
        wir wo wurde wurden zu zum zur zwei zwischen""",
    "fr": """à afin ainsi alors après au aucun aussi autre aux avant avec avoir c ce cela ces cet cette ceux chaque
        comme d dans de depuis des deux doit doivent donc dont du elle elles en encore entre est et été être eux
        fait faut il ils j je l la le les leur leurs lors lui m ma mais me même moins mon n ne ni non nos notre
        nous on ont ou où par pas peut peuvent plus pour puis qu quand que qui s sa sans se sera ses si sinon
        son sont sous sur ta te tous tout toute toutes très tu un une vers votre vous y""",
    "es": """a al algo ante antes así aún aunque cada como con contra cual cuando de debe deben del desde donde dos e el
        él ella ellas ellos en entre era eran es esa ese eso esta está están este esto estos fue fueron ha han hasta hay
        la las le les lo los más me mi mientras muy ni no nos o otra otro para pero por porque pues que qué quien se sea
        según ser si sí sido sin sobre son su sus también tan tanto te tiene tienen todo todos tras tu u un una uno unos
        y ya""",
}
FUNCTION_WORDS = {language: frozenset(words.split()) for language, words in _FUNCTION_WORDS_OF.items()}


@dataclass(frozen=True, slots=True)
class Wording:
    """How each style asks about one phrase, or two, in one language."""

    one: dict[str, str]
    two: dict[str, str]
    gap: str
    why: str = ""
    definition: str = ""


WORDINGS = {
    "en": Wording(
        one={
            "factual": "What should one know about “{0}”?",
            "reasoning": "Why does “{0}” matter, and in what connection?",
            "structuring": "What are the main points about “{0}”? Give them as a short list.",
            "use_case": "Someone has to deal with “{0}”. What do they need to know?",
            "creative": "How would you explain “{0}” to a newcomer in plain words?",
        },
        two={
            "factual": "What is the connection between “{0}” and “{1}”?",
            "reasoning": "Why is “{0}” mentioned together with “{1}”?",
            "structuring": "What are the main points about “{0}” and “{1}”? Give them as a short list.",
            "use_case": "Someone has to deal with “{0}”. What should they know about “{1}”?",
            "creative": "How would you explain to a newcomer what “{0}” has to do with “{1}”?",
        },
        gap="Which number belongs in the gap: “{0}”?",
        why="Why is it that {0}?",
        definition="What {verb} {subject}?",
    ),
    "de": Wording(
        one={
            "factual": "Was sollte man zum Stichwort „{0}“ wissen?",
            "reasoning": "Warum ist „{0}“ von Bedeutung, und in welchem Zusammenhang?",
            "structuring": "Was sind die wichtigsten Punkte zum Stichwort „{0}“? Bitte als kurze Liste.",
            "use_case": "Jemand hat mit „{0}“ zu tun. Was muss er oder sie wissen?",
            "creative": "Wie lässt sich „{0}“ einem Neuling in einfachen Worten erklären?",
        },
        two={
            "factual": "Welcher Zusammenhang besteht zwischen „{0}“ und „{1}“?",
            "reasoning": "Warum wird „{0}“ zusammen mit „{1}“ erwähnt?",
            "structuring": "Was sind die wichtigsten Punkte zu „{0}“ und „{1}“? Bitte als kurze Liste.",
            "use_case": "Jemand hat mit „{0}“ zu tun. Was sollte er oder sie über „{1}“ wissen?",
            "creative": "Wie erklärt man einem Neuling, was „{0}“ mit „{1}“ zu tun hat?",
        },
        gap="Welche Zahl gehört in die Lücke: „{0}“?",
    ),
    "fr": Wording(
        one={
            "factual": "Que faut-il savoir sur « {0} » ?",
            "reasoning": "Pourquoi « {0} » est-il important, et dans quel contexte ?",
            "structuring": "Quels sont les points principaux sur « {0} » ? Répondez par une courte liste.",
            "use_case": "Une personne a affaire à « {0} ». Que doit-elle savoir ?",
            "creative": "Comment expliquer « {0} » à un débutant avec des mots simples ?",
        },
        two={
            "factual": "Quel est le lien entre « {0} » et « {1} » ?",
            "reasoning": "Pourquoi « {0} » est-il mentionné avec « {1} » ?",
            "structuring": "Quels sont les points principaux sur « {0} » et « {1} » ? Répondez par une courte liste.",
            "use_case": "Une personne a affaire à « {0} ». Que doit-elle savoir sur « {1} » ?",
            "creative": "Comment expliquer à un débutant le rapport entre « {0} » et « {1} » ?",
        },
        gap="Quel nombre complète la phrase : « {0} » ?",
    ),
    "es": Wording(
        one={
            "factual": "¿Qué conviene saber sobre «{0}»?",
            "reasoning": "¿Por qué es importante «{0}» y en qué contexto?",
            "structuring": "¿Cuáles son los puntos principales sobre «{0}»? Responda con una lista breve.",
            "use_case": "Una persona tiene que tratar con «{0}». ¿Qué necesita saber?",
            "creative": "¿Cómo se explicaría «{0}» a un principiante con palabras sencillas?",
        },
        two={
            "factual": "¿Qué relación hay entre «{0}» y «{1}»?",
            "reasoning": "¿Por qué se menciona «{0}» junto con «{1}»?",
            "structuring": "¿Cuáles son los puntos principales sobre «{0}» y «{1}»? Responda con una lista breve.",
            "use_case": "Una persona tiene que tratar con «{0}». ¿Qué debería saber sobre «{1}»?",
            "creative": "¿Cómo se explicaría a un principiante qué tiene que ver «{0}» con «{1}»?",
        },
        gap="¿Qué número completa la frase: «{0}»?",
    ),
    "zh": Wording(
        one={
            "factual": "关于“{0}”，需要了解什么？",
            "reasoning": "“{0}”为什么重要，与什么有关？",
            "structuring": "关于“{0}”有哪些要点？请列出。",
            "use_case": "有人需要处理与“{0}”有关的事，应当知道什么？",
            "creative": "怎样用简单的话向初学者解释“{0}”？",
        },
        two={
            "factual": "“{0}”和“{1}”之间有什么联系？",
            "reasoning": "为什么“{0}”会与“{1}”一起提到？",
            "structuring": "关于“{0}”和“{1}”有哪些要点？请列出。",
            "use_case": "有人需要处理与“{0}”有关的事，关于“{1}”应当知道什么？",
            "creative": "怎样向初学者解释“{0}”与“{1}”的关系？",
        },
        gap="空格处应填哪个数字：“{0}”？",
    ),
}
