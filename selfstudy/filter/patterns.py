# ruff: noqa: E501 - a pattern broken at 120 characters is harder to read, not easier
"""The rules of the regex judge: what each looks for, and how much one match weighs.

All patterns read folded text (lower case, accents stripped, look-alikes undone; see `normalise`).
"""

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rule:
    """`weight` is the score of one match alone; without one of the strings in `needs`, `pattern` cannot match."""

    name: str
    weight: float
    pattern: re.Pattern[str]
    needs: tuple[str, ...] = ()


def _rule(name: str, weight: float, pattern: str, needs: str = "") -> Rule:
    return Rule(name, weight, re.compile(pattern, re.VERBOSE), tuple(needs.split("|")) if needs else ())


_MACHINE = (
    r"(?:a\.?i\.?|llms?|(?:large[ ])?language[ -]models?|(?:ai|virtual|automated|language|answering)[ -]"
    r"(?:models?|assistants?|agents?|systems?|readers?|tools?|bots?)|chat ?bots?|chatgpt|gpt(?:-?\d\w*)?|claude|gemini|"
    r"copilot|assistant|ki(?:-\w+)?|sprachmodelle?|ia|modeles?[ ]de[ ]langage|modelos?[ ]de[ ]lenguaje|asistente|assistent)"
)
_ANSWER = (
    r"(?:answers?|responses?|repl(?:y|ies)|outputs?|completions?|summar(?:y|ies)|generations?|translations?|"
    r"antworten|antwort|ausgaben?|zusammenfassung|reponses?|sortie|resumes?|respuestas?|salida|resumen)"
)
_GAP = r"(?:[\w'-]+[ ,]+)"
_LANGUAGES = (
    r"(?:english|french|german|spanish|italian|portuguese|russian|chinese|japanese|arabic|korean|latin|dutch|polish|"
    r"turkish|hindi|klingon|pirate|emojis?|rhymes?|verse|haikus?|limericks?|json|xml|yaml|csv|html|base64|morse|rot13|"
    r"binary|hex|all[ ]caps|capitals|capital[ ]letters|lower[ -]?case|upper[ -]?case|markdown)"
)
_NOTICE = (
    r"(?:\b(?:note|notice|message|attention|instructions?|reminder|memo|important|advice|warning|hinweis|achtung|"
    r"anweisung(?:en)?|mitteilung|avis|consignes?|nota|aviso|instrucciones)[ ](?:to|for|an|fur|aux?|pour|para)\W+"
    r"(?:(?:all|any|every|the|alle|les|tous[ ]les|los)[ ])?" + _GAP + r"{0,1})"
)

RULES: tuple[Rule, ...] = (
    # What a program overrides or may forget, and an option of that name, are no orders.
    _rule(
        "override",
        0.85,
        rf"""\b(?:ignore|disregard|(?<!eventually\ )(?<!never\ )forget|overlook|
        (?<!\bto\ )(?<!\bor\ )(?<!\bthat\ )(?<!\bwill\ )(?<!\bcan\ )(?:override|bypass|discard)(?!\W+(?:system|default|existing)\b)|
        neglect|abandon|(?:set|cast|put|leave)\ aside|stop\ (?:following|obeying)|(?:do\ not|don't|no\ longer)\ (?:follow|obey)|pay\ no\ (?:attention|heed)\ to|erase|
        cancel|drop(?!-)|vergiss|vergessen\ sie|ignoriere?n?(?:\ sie)?|missachte|oublie[zr]?|ignore[zr]?|ne\ tiens?\ pas\ compte|
        ne\ tenez\ pas\ compte|olvida|olvide|ignora|ignoren|descarta|haz\ caso\ omiso)\W+{_GAP}{{0,5}}?
        (?:(?:previous|prior|above|earlier|preceding|former|original|initial|existing|foregoing|system|other|your|all|any|
        every|everything|anything|these|those|the\ rest|vorherigen?|vorigen|bisherigen?|obigen?|alle[ns]?|deine|ihre|
        precedentes?|toutes?|tous|vos|tes|anteriores?|previas?|previos|todas?|todos?|tus|sus)\W+{_GAP}{{0,5}}?
        (?:instruct\w*|directi\w*|prompts?|guidelines?|rules|commands?|orders|guidance|programming|training|tasks?|
        questions?|requests?|messages?|anweisung\w*|aufgaben?|auftrage?|befehle?|regeln|vorgaben|consignes?|ordres|regles|
        instrucc\w*|ordenes|reglas|indicaciones|tareas?)|everything\ (?:above|before|you|i|that)|alles,?\ (?:was\ )?(?:davor|zuvor|bisher)|
        (?:what|everything)\ you(?:'ve|\ have|\ were)|the\ rest\ of\ th)""",
        r"ignor|regard|forget|over|pass|discard|neglect|abandon|aside|follow|obey|pay|eras|cancel|drop|verg|miss|oubli|tien|tenez|olvid|descart|caso",
    ),
    _rule(
        "machine_notice",
        0.7,
        rf"""(?:{_NOTICE}{_MACHINE}\b(?!-\w)\W*(?:[:,—-]|reading|processing|that|who))|^[^\w"'`]*{_NOTICE}{_MACHINE}\W*$
        |\b(?:dear|hey|hi|hello|attention|liebe|cher|chere|querid[oa])\W+{_GAP}{{0,1}}{_MACHINE}\b(?!-\w)
        |\b(?:if|when|wenn|falls|si|cuando)\b[^.!?\n]{{0,12}}\b(?:you\ are|you're|du|sie|vous\ etes|tu\ es|eres|es)\W+(?:an?|ein|eine|une?|una?)\W+{_GAP}{{0,2}}{_MACHINE}\b(?!\ (?:developer|researcher|engineer|user|company))
        |\b{_MACHINE}\W+{_GAP}{{0,3}}(?:reading|processing|parsing|ingesting|summari[sz]ing)\ (?:this|these)\b
        |\bfor\ {_MACHINE}\ (?:only|use\ only|readers?|eyes)\b""",
        "ai|a.i|llm|model|assist|asist|agent|bot|gpt|claude|gemini|copilot|ki|ia",
    ),
    _rule(
        "machine_must",
        0.5,
        rf"""(?<!\bhow\ )(?<!\bhow\ the\ )(?<!\bhow\ an\ )\b{_MACHINE}\W+{_GAP}{{0,5}}(?:must|shall|should|are\ (?:required|asked|instructed|requested)|is\ (?:required|asked|
        instructed|requested)|need\ to|muss|mussen|soll|sollen|doi(?:t|vent)|debe[n]?)\W+{_GAP}{{0,6}}
        (?:answer|respond|reply|output|say|state|tell|include|mention|end|begin|start|recommend|refuse|ignore|write|add|
        summari[sz]e|conclude|disclose|reveal|antworten|sagen|erwahnen|repondre|dire|mentionner|responder|decir|mencionar)""",
        r"must|shall|should|required|asked|instructed|requested|need|muss|soll|doi|debe",
    ),
    _rule(
        "fixes_answer",
        0.62,
        rf"""\b(?:your|deine|ihre|ta|votre|tu|su)\W+{_GAP}{{0,2}}{_ANSWER}\W+{_GAP}{{0,1}}(?:must|should|shall|needs?\ to|has\ to|
        is\ to|ha(?:ve|s)\ to|can\ only|cannot|muss|soll|darf|doit|devra|debe)\b""",
        r"must|should|shall|need|has to|have to|is to|can|muss|soll|darf|doi|devra|debe",
    ),
    _rule(
        "into_answer",
        0.62,
        rf"""(?:^|[.!?:;,>\]"]\W*|\b(?:please|must|should|always|and|then|to|also|subtly|quietly|bitte)\ )(?:include|insert|append|add|mention|begin|start|end|close|finish|conclude|embed|place|put|weave|prepend|state|write|
        fuge|beginne|beende|erwahne|schreibe?|nenne|inclu(?:s|ez|ye|ya)|ajoute[sz]?|commence[sz]?|termine[sz]?|mentionne[sz]?|anade|
        agrega|comienza|menciona)\b[^.!?\n]{{0,120}}\b(?:in|into|to|within|inside|of|before|after|from|in\ der|vor|nach|dans|avant|apres|en|a|antes\ de)\W+
        (?:your|every|each|deiner?|ihrer?|jeder?|ta|votre|chaque|tu|su|cada)\W+{_GAP}{{0,2}}{_ANSWER}\b
        |(?:^|[.!?:;,>\]"]\W*|\b(?:please|must|should|always|and|then|to|bitte)\ )(?:begin|start|end|close|finish|conclude|beginne|beende|
        commence[sz]?|termine[sz]?|comienza|empieza|termina)\ (?:your|every|each|all|the|deine|jede|ta|votre|chaque|tu|cada)\W+{_GAP}{{0,2}}{_ANSWER}\b""",
        r"answer|respon|repl|output|complet|summar|generation|translation|antwort|ausgabe|fassung|repons|sortie|resum|respuest|salida",
    ),
    _rule(
        "when_answering",
        0.5,
        rf"""\b(?:before|when|while|prior\ to|instead\ of|after|bevor|wenn|statt|avant\ de|lorsque\ vous|quand\ tu|antes\ de|cuando|al)\W+
        (?:you\ |du\ |sie\ )?(?:answer(?:ing)?|respond(?:ing)?|reply(?:ing)?|summari[sz](?:e|ing)|generating\ (?:an?|the|your)\ {_ANSWER}|
        (?:giving|providing|producing|formulating)\ (?:your|an?|the|any)\ (?:\w+\ )?{_ANSWER}|(?:be(?:en)?\ )?asked\ (?:about|to\ (?:summari|answer))|
        antwortest|antworten|repondre|repondez|reponds|responder|respondas|contestar)\b
        (?!,?\ (?:(?:he|she|they)\b|\w+\ (?!need|proceed|feed|heed|exceed)(?:\w+ed|went|took|gave|sat|said|threw|shook|left)\b)|[^.!?\n]{{0,120}}\b(?:told|said|stated|replied|explained)\b)""",
        r"answer|respond|reply|summar|generat|giving|provid|produc|formulat|asked|antwort|repond|contest",
    ),
    _rule(
        "only_answer",
        0.6,
        rf"""(?:^|[.!?:;,"'>\]\n]\W*|\b(?:please|must|should|always|just|only|simply|instead|and|then|to|bitte|nur|veuillez|por\ favor)\ )
        (?:respond|reply|answer|antworte|antworten\ sie|reponds|repondez|responde|conteste|contesta)\W+{_GAP}{{0,3}}?
        (?:only|just|exactly|nothing\ but|solely|simply|exclusively|verbatim|always|never|with\ the\ (?:word|phrase|sentence|following|single)|
        with\W+"|nur|ausschliesslich|immer|mit\ dem\ (?:wort|satz)|seulement|uniquement|toujours|par\ le\ mot|solo|
        solamente|unicamente|siempre|con\ la\ (?:palabra|frase))""",
        r"respond|reply|answer|antwort|repond|contest",
    ),
    _rule(
        "says_nothing_else",
        0.4,
        r"""\b(?:nothing\ (?:else|more)|no\ other\ (?:text|words?|content)|without\ (?:any\ )?(?:further\ )?explanation|and\ then\ stop|
        word\ for\ word|sonst\ nichts|nichts\ anderes|rien\ d'autre|nada\ mas)\b""",
        "else|more|no other|without|then stop|word for|nichts|rien|nada",
    ),
    _rule(
        "language_or_format",
        0.42,
        rf"""\b(?:respond|reply|answer|write|speak|output|switch|translate|antworte\w*|schreibe?|reponde?z|reponds|ecri[st]|ecrivez|
        responde|contesta|escribe)\b\W+{_GAP}{{0,6}}(?:in|into|as|to|auf|en|entirely)\W+{_GAP}{{0,2}}(?:{_LANGUAGES}|franzosisch|englisch|
        spanisch|anglais|allemand|espagnol|ingles|frances|aleman)\b""",
        r"respond|reply|answer|writ|speak|output|switch|transl|antwort|schreib|repon|ecri|contest|escrib",
    ),
    _rule(
        "new_role",
        0.7,
        rf"""\byou\ (?:are|'re)\ (?:now|no\ longer|henceforth)\b(?!\ (?:ready|able|in\ a\ position|done|familiar|being|\w+ed)\b|\ (?!acting|playing|speaking|operating|entering|talking|answering|pretending|being)\w+ing\b)|\bfrom\ (?:now|here|this\ (?:point|moment))\ on(?:wards?)?\W+(?:you|please|always|answer|respond|act|speak|every)
        |\b(?:act|behave|respond|answer|speak|roleplay|role-play|pose)\ as\ (?:if\ you\ (?:are|were)\ |though\ you\ (?:are|were)\ )?(?:an?|my|the)\ {_GAP}{{0,3}}
        (?:pirate|assistant|expert|ai|bot|character|persona|terminal|interpreter|translator|hacker|villain|dan|chatbot|model|poet|king|robot)
        |\b(?:adopt|assume|take\ on)\ the\ (?:persona|role|identity|character)\ of
        |\bab\ (?:jetzt|sofort)\ (?:bist|antworte|sprich)|\bdu\ bist\ (?:jetzt|nun|ab\ )|\btu\ es\ (?:maintenant|desormais)|\bdesormais,?\ (?:tu|vous|repon)
        |\ba\ partir\ de\ ahora,?\ (?:eres|seras|actua|respond|contest|habla|debes|vas\ a|solo|no)|\bahora\ eres\b|\bactua\ como\b|\bcomporte-toi\ comme\b|\bverhalte\ dich\ wie\b""",
        r"you|act|behav|speak|pose|pretend|persona|role|identity|character|respond|answer|ab |du bist|tu es|desormais|ahora|actua|comporte|verhalte",
    ),
    _rule(
        "you_are",
        0.35,
        rf"""(?:^|[.:!?\]>"]\W*)(?:you\ are|du\ bist|sie\ sind|tu\ es|vous\ etes|eres)\ (?:an?|ein|eine|une?|una?)\ {_GAP}{{0,4}}
        (?:assistant|expert|engineer|developer|agent|chatbot|tutor|specialist|consultant|assistent|experte?|asistente|experto)
        |\bpretend\ (?:to\ be|that\ you|you)\b
        |\byour\ (?:sole\ |only\ |new\ |real\ |main\ |primary\ )?(?:task|job|mission|role|goal|objective|purpose)\ is\ (?:now\ )?to\b""",
        r"pretend|you|du bist|sie sind|tu es|vous|eres",
    ),
    _rule(
        "leak",
        0.75,
        r"""\b(?:reveal|print|show|repeat|output|disclose|display|leak|tell\ me|give\ me|share|recite|quote|expose|dump|what\ (?:is|are|was|were)|
        zeige?|verrate|nenne|wiederhole|affiche|revele[z]?|repete[z]?|muestra|revela|repite)\b\W+{_GAP}{0,6}?
        (?:system\ ?prompts?|your\ (?:\w+\ ){0,2}(?:prompts?|instructions|guidelines|configuration|rules)|
        (?:initial|hidden|secret|original)\ (?:prompts?|instructions)|instructions\ you\ (?:were|have|received)|
        (?:deine|ihre)n?\ (?:\w+\ )?(?:anweisungen|prompt)|(?:tes|vos)\ (?:consignes|instructions)|tus\ instrucciones)""",
        r"prompt|instruc|guideline|configuration|rules|anweisung|consigne",
    ),
    _rule(
        "refuse",
        0.5,
        r"""\b(?:(?:do\ not|don't|(?<!\bwould\ )never|(?<!\bi\ )(?:refuse|decline)\ to|you\ (?:must|may|can)\ ?not)\ (?:\w+\ ){0,2}?
        (?:answer|respond\ to|reply\ to|comply\ with|summari[sz]e|translate)\ (?:\w+\ ){0,3}(?:(?:questions?|requests?|quer(?:y|ies))\b(?!\ (?:of|from|by)\b)|users?|anyone|anything|text|document|passage)
        |(?:do\ not|don't|never|without)\ (?:mention(?:ing)?|reveal(?:ing)?|disclos(?:e|ing)|refer(?:ring)?\ to|acknowledg(?:e|ing)|
        tell\ (?:the\ user|anyone)|quot(?:e|ing))\ (?:\w+\ ){0,4}(?:th(?:is|ese|e)\ (?:\w+\ )?(?:instructions?|notes?|notices?|messages?|comments?|prompts?|text|rules?|system)|about\ this)
        |beantworte\ (?:\w+\ ){0,3}(?:nicht|keine)|ne\ repond(?:s|ez)\ (?:pas|a\ aucune)|no\ respondas)""",
        r"not|n't|never|refus|declin|without|nicht|keine|pas|aucune|respondas",
    ),
    _rule(
        "the_user",
        0.4,
        r"""\b(?:tell|inform|notify|advise|direct|urge|warn|remind|ask|convince|instruct|redirect|send|encourage)\ (?:the\ |every\ |any\ |all\ )?(?:users?|reader|questioner|asker|person\ asking|human)\b
        |\b(?:the\ |when\ (?:the\ |a\ )?|if\ (?:the\ |a\ )?)user(?:'s)?\ (?:asks?|requests?|wants|question|query|prompt|says)\b
        |\bwhen(?:ever)?\ (?:you(?:'re|\ are)\ )?asked\b(?![^.!?\n]{0,120}\b(?:told|said|stated|replied|explained)\b)|\bif\ (?:you\ are\ )?asked\ (?:about|to|for|how|what|whether)\b""",
        r"user|reader|asker|question|person|human|asked",
    ),
    _rule(
        "new_task",
        0.55,
        r"""\b(?:new|real|actual|updated|true|additional|special|urgent|secret|hidden|overriding|final)\ (?:instructions?|task|directives?|objective|assignment|orders?|mission)\b(?!-)\W{0,3}(?::|follow|are|is\ |supersede|replace|take)
        |\b(?:neue\ anweisung(?:en)?|neue\ aufgabe|nouvelles?\ (?:instructions?|consignes?|tache)|nuevas?\ (?:instruccion(?:es)?|tarea))\b\W{0,3}:
        |\b(?:this|these|the\ following)\ (?:instructions?|messages?|notes?|directives?|commands|rules?)\ (?:\w+\ ){0,2}(?:override|overrides|supersede|supersedes|take\ precedence|takes\ precedence|replace|replaces)
        |\b(?:your|the)\ (?:previous|prior|original|earlier)\ (?:task|instructions?|prompt|job)\ (?:is|are|was|were|has|have)\ (?:\w+\ ){0,2}(?:complete|cancel|void|over|obsolete|done|finished|revoked)""",
        r"instruc|task|directive|objective|assignment|order|mission|prompt|message|note|command|rule|anweis|aufgabe|consigne|tache|tarea|job",
    ),
    _rule(
        "control_tokens",
        0.9,
        r"""<\|\s*(?:im_start|im_end|system|user|assistant|start_header_id|end_header_id|eot_id|endoftext|begin_of_text)|\[/?inst\]|<</?sys>>|
        <(?:start|end)_of_turn>|\[/?(?:system|sys)\]|</?system(?:[_-]prompt)?>|\bbegin\ system\ prompt|\bend\ of\ (?:system\ )?prompt\b""",
        "<|[|prompt",
    ),
    _rule(
        "system_turn",
        0.45,
        r"""^[\W_]{0,6}(?:system|developer|admin(?:istrator)?|root)(?:[ _-](?:message|prompt|note|notice|override|update|instruction|alert|command))?[\]})>*]{0,3}\s*[:：]\s*\S
        |^[\W_]{0,4}(?:answer|response|output|assistant|ai)\s*:\s*(?:the\ )?(?:task|done|complete|finished|sure|certainly|ok)""",
        r"system|developer|admin|root|answer|response|output|assistant|ai",
    ),
    _rule(
        "jailbreak",
        0.7,
        r"""\b(?:you\b[^.]{0,30}\bjailbroken|jailbroken\ (?:ai|mode|model|version)|jailbreak\ mode|developer\ mode\ (?:is\ )?(?:enabled|on|activated)|do\ anything\ now(?!\W{0,3}(?:attack|prompt|jailbreak|technique))|without\ (?:any\ )?(?:restrictions|filters|censorship)\b[^.]{0,40}\b(?:answer|respond|you)|
        unfiltered\ (?:and\ )?(?:ai|mode|response)|(?:admin|debug|god|maintenance|unrestricted|opposite)\ mode\ (?:on(?!\ or\ off)|enabled|activated))\b""",
        r"mode|jailbr|restrict|filter|anything",
    ),
)

RULES_OF_OTHER_SCRIPTS: tuple[Rule, ...] = (
    _rule(
        "override_other_scripts",
        0.85,
        r"""(?:忽略|无视|不要理会|忘记|忘掉|無視|忘れ)[^。！？\n]{0,14}(?:指令|指示|提示|要求|规则|命令|任务|内容|问题)
        |(?:指示|命令|プロンプト|ルール|質問)[^。！？\n]{0,8}(?:無視|忘れ|従わな)
        |(?:игнорируй\w*|забудь\w*|не\ обращай\w*\ внимания|отмени\w*|проигнорируй\w*)[^.!?\n]{0,40}(?:инструкц\w+|указани\w+|команд\w+|правил\w*|задани\w+|вопрос\w*|предыдущ\w+)
        |(?:تجاهل|انس|انسى|اهمل)[^.!؟\n]{0,40}(?:التعليمات|الاوامر|السابقة|القواعد|الاسئلة|السؤال)""",
    ),
    _rule(
        "answer_other_scripts",
        0.6,
        r"""(?:回答|回复|答复|输出|总结|摘要|答案)[^。！？\n]{0,12}(?:必须|只能|只需|请|一律|都要|中|时|前|之前|开头|结尾)[^。！？\n]{0,24}(?:输出|说|写|包含|加入|提到|使用|注明|推荐|回答|告诉|用)
        |(?:请|必须|一律|只)(?:用|以|回答|回复|输出)[^。！？\n]{0,20}(?:回答|回复|输出|格式|语)
        |(?:回答|返答|出力|要約)[^。！？\n]{0,16}(?:してください|しなさい|すること|せよ|てはいけません|ないでください)
        |(?:ответ(?!ств|ит\b|ят\b|ом\b)\w*|отвеча(?!ет\b|ют\b)\w+|резюме|вывод)[^.!?\n]{0,40}(?:долж\w+|только|всегда|исключительно|обязательно|скажи|напиши|добавь|включи|укажи)
        |(?:отвеча(?:й|йте)|ответь(?:те)?)\b[^.!?\n]{0,30}\b(?:только|всегда|на\ \w+ом|словом|исключительно)
        |(?:اجب|اجابتك|ردك|الرد|الاجابة|اجاباتك|رد)[^.!؟\n]{0,40}(?:فقط|دائما|يجب|باللغة|بالكلمة|بكلمة|اذكر|اكتب|اضف)""",
    ),
    _rule(
        "machine_other_scripts",
        0.6,
        r"""(?:人工智能|(?<![a-z])ai(?![a-z])|语言模型|模型|助手|智能助理|机器人|アシスタント|言語モデル|人工知能)[^。！？，\n]{0,10}(?:请注意|注意|必须|应当|应该|请(?!求)|への(?:指示|命令|注意|お?知らせ|メッセージ|お願い)|は必ず|へ[:：]|読者|读者|(?:阅读|处理)(?:本|此|这|该))
        |(?:现在|从现在起|今后)[^。！？\n]{0,4}你(?:是|将|要|必须)|你(?:现在)?(?:的新身份|扮演|将扮演)|あなたは(?:今|これから)
        |(?:если\ (?:ты|вы)|(?:^|[.:!(\[—-]\ ?)для|вниманию|внимание,?)\ (?:\w+\ ){0,3}(?:ии|нейросет\w+|языков\w+\ модел\w+|ассистент\w*|чат-?бот\w*)
        |(?:ты|вы)\ теперь\b|отныне\ (?:ты|вы|отвеча)|притворись|веди\ себя\ как
        |(?:الذكاء\ الاصطناعي|نموذج\ اللغة|النموذج\ اللغوي|المساعد)[^.!؟\n]{0,30}(?:يجب|عليك|اجب|اذكر|يرجى|الرجاء)|انت\ الان|من\ الان\ فصاعدا""",
    ),
)

# A text in which none of these stand cannot match any rule; nearly every sentence leaves here.
_TRIGGERS = (
    "ignor", "regard", "forget", "overr", "bypass", "instruc", "prompt", "answer", "respon", "reply", "replie",
    "output", "summar", "assist", "asist", " ai", "ai ", "llm", "model", "gpt", "bot", "claude", "gemini", "copilot",
    "user", "reader", "asked", "you are", "you're", "your task", "your job", "your mission", "your role", "your goal",
    "from now", "from here", "pretend", "persona", "act as", "behave", "jailb", " mode", "anything now",
    "nothing else", "nothing more", "no other", "word for word", "then stop", "directive", "guideline", "command",
    "rules", "orders", "<", "[", "system", "admin", "developer", "root", "task", "antwort", "anweis", "verg",
    "aufgabe", "sprachmod", "ki-", "du bist", "sie sind", "ausgabe", "fassung", "ab jetzt", "verhalte", "repon",
    "consigne", "oubli", " ia", "desormais", "tu es", "vous etes", "sortie", "resum", "tache", "contest", "olvid",
    "eres ", "ahora", "actua", "salida", "tarea",
)  # fmt: skip
_OTHER_SCRIPT = re.compile(r"[\u0400-\u04ff\u0600-\u06ff\u3040-\u30ff\u4e00-\u9fff]")
# An apostrophe within a word is none.
QUOTATION_MARK = re.compile(r"[\"'`](?!\w)|(?<!\w)[\"'`]")
REPORTING = re.compile(
    r"\battack|inject|jailbr|adversar|malicious|hijack|spoof|smuggl|example|e\.g\.|such as|for instance|called|known as|phrase|pattern|variant|keyword|"
    r"\btags?\b|marker|delimiter|detect|technique|\bsays?\b|said|wrote|writes|"
    r"told|asked (?:him|her|them|me|us)|trick|beispiel|angriff|exemple|attaque|ejemplo|ataque|例如|比如|攻击|攻撃|例えば|например|атак|مثل|هجوم"
)
CONTINUATION = re.compile(
    r"\W*(?:do (?:not|so|this|it)|don't|this (?:applies|holds|overrides|instruction|rule|is (?:an order|mandatory|final))|these (?:rules|instructions)|"
    r"never|always|instead|then|only|just|say|print|write|output|reply|respond|answer|repeat|begin|start|end with|include|add|mention|no (?:exceptions|matter)|"
    r"under (?:no|all) circumstances|even if|regardless|failure to|you (?:must|will|should|may not)|thank you for (?:your )?compl|if (?:asked|anyone|the user)|"
    r"sage?\b|schreib|antwort|immer|niemals|dis\b|dites|toujours|jamais|di\b|siempre|nunca)"
)


def rules_for(text: str) -> tuple[Rule, ...]:
    """Return the rules that can match a folded text."""
    holds = text.__contains__  # mapped, not in a generator: this line is most of the judge's time
    rules = RULES if any(map(holds, _TRIGGERS)) else ()
    if not text.isascii() and _OTHER_SCRIPT.search(text):
        rules += RULES_OF_OTHER_SCRIPTS
    return tuple(rule for rule in rules if not rule.needs or any(map(holds, rule.needs)))
