'use strict';

// The page works without this script. With it, what is shown stays true while somebody looks at it.

const PERIOD = 2000;
const TIMEOUT = 10000;

const main = document.getElementById('main');
const note = document.getElementById('note');
const editor = document.getElementById('editor');

// Says something to those who see the page and to those who hear it; once, until it is something else.
function say(text, isAlarm) {
    if (note.textContent !== text) {
        note.textContent = text;
    }
    note.classList.toggle('alarm', Boolean(isAlarm));
}

function get(address, headers) {
    return fetch(address, {headers, redirect: 'error', signal: AbortSignal.timeout(TIMEOUT)});
}

// Makes the children of `shown` those of `fresh`, and touches only what differs: where somebody is, what they
// have selected and what they type stays.
function renew(shown, fresh) {
    const wanted = [...fresh.childNodes];
    wanted.forEach((child, index) => {
        const old = shown.childNodes[index];
        if (!old) {
            shown.append(child);
        } else if (old.nodeType !== child.nodeType || old.nodeName !== child.nodeName || old.id !== child.id) {
            old.replaceWith(child);
        } else if (old.nodeType === Node.ELEMENT_NODE) {
            renewAttributes(old, child);
            renew(old, child);
        } else if (old.nodeValue !== child.nodeValue) {
            old.nodeValue = child.nodeValue;
        }
    });
    while (shown.childNodes.length > wanted.length) {
        shown.lastChild.remove();
    }
}

function renewAttributes(shown, fresh) {
    for (const {name} of [...shown.attributes]) {
        if (!fresh.hasAttribute(name)) {
            shown.removeAttribute(name);
        }
    }
    for (const {name, value} of fresh.attributes) {
        if (shown.getAttribute(name) !== value) {
            shown.setAttribute(name, value);
        }
    }
}

// Looks for a newer state of this page.
async function look() {
    const address = location.href;
    const reply = await get(address, {'If-None-Match': main.dataset.state});
    if (!isWell(reply) || reply.status === 304) {
        return;
    }
    const fresh = new DOMParser().parseFromString(await reply.text(), 'text/html');
    const content = fresh.getElementById('main');
    if (address === location.href && content && content.dataset.state) {
        main.dataset.state = content.dataset.state;
        document.title = fresh.title;
        renew(main, content);
    }
}

// Looks whether somebody else has saved what is being edited, and shows both at once.
let seen = editor ? Number(editor.dataset.base) : 0;
async function watch() {
    const reply = await get(editor.dataset.meta);
    if (reply.status === 404 || !isWell(reply)) {
        return;
    }
    const head = await reply.json();
    if (head.version === seen) {
        return;
    }
    // Its buttons are named `action`, which hides the property of the form.
    const body = new URLSearchParams(new FormData(editor));
    body.set('action', 'review');
    const both = await fetch(editor.getAttribute('action'), {method: 'POST', body, signal: AbortSignal.timeout(TIMEOUT)});
    const page = new DOMParser().parseFromString(await both.text(), 'text/html');
    const conflict = page.getElementById('conflict');
    // The server has made visible what authors wrote.
    const who = conflict && conflict.querySelector('.by');
    if (conflict) {
        document.getElementById('conflict').replaceChildren(...conflict.childNodes);
    }
    seen = head.version;
    say(`Somebody else was faster: ${who ? who.textContent : `v${head.version}`}. ` +
        'What you write is kept. Review your changes to go on with both.', true);
}

function isWell(reply) {
    if (reply.status === 401) {
        say('Your session has ended. Log in again in another tab; what you write here is kept.', true);
    } else if (reply.status === 503) {
        say('The journal is not available. What is shown may be old.', true);
    } else if (reply.ok || reply.status === 304) {
        if (isTroubled) {
            say('');
        }
        isTroubled = false;
        return true;
    }
    isTroubled = true;
    return false;
}

// Looks again and again while the page is seen. A server that takes long is asked less often.
let isTroubled = false;
function repeat(action) {
    let wait = PERIOD;
    const turn = async () => {
        if (!document.hidden) {
            const began = performance.now();
            try {
                await action();
            } catch (error) {
                isTroubled = true;
                say('There is no connection to the server. What is shown may be old.', true);
            }
            wait = Math.max(PERIOD, 10 * (performance.now() - began));
        }
        setTimeout(turn, wait);
    };
    setTimeout(turn, wait);
}

if (main.dataset.state) {
    repeat(look);
}

// A search is made while its text is typed.
const search = document.querySelector('form[role="search"]');
if (search) {
    let timer;
    search.addEventListener('input', () => {
        clearTimeout(timer);
        timer = setTimeout(() => {
            const query = [...new FormData(search)].filter(([, value]) => value);
            const text = new URLSearchParams(query).toString();
            history.replaceState(null, '', search.getAttribute('action') + (text && `?${text}`));
            look().catch(() => {});
        }, 200);
    });
}

if (editor) {
    if (editor.dataset.meta) {
        repeat(watch);
    }
    const text = editor.elements.text;
    let isSent = false;
    editor.addEventListener('submit', () => { isSent = true; });
    addEventListener('beforeunload', (event) => {
        if (!isSent && text.value !== text.defaultValue) {
            event.preventDefault();
        }
    });
}

// Whoever names themselves does so once.
const author = document.getElementById('author');
if (author) {
    try {
        author.value = author.value || localStorage.getItem('author') || '';
        author.form.addEventListener('submit', () => localStorage.setItem('author', author.value));
    } catch (error) {
        // The browser keeps nothing.
    }
}
