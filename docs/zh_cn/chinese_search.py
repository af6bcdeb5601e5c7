# Copyright (c) sskd_mm authors. All rights reserved.
import re

from sphinx.search.zh import SearchChinese


class ChineseSearch(SearchChinese):
    """Searches Chinese text by its characters and by each two neighbours.

    Sphinx cuts Chinese pages into the words of a dictionary, but does not cut
    what the reader types, so it finds single words at most; and without the
    package of the dictionary it finds none. Here the script in the page cuts
    a query as pages are cut, so any piece of a text finds it.

    Example:
        >>> ChineseSearch({}).split('损失权重 loss')
        ['损', '损失', '失', '失权', '权', '权重', '重', 'loss']
    """

    # Whose stemmer Latin words get. Sphinx calls it by the language's name,
    # and there is none for Chinese.
    language_name = 'English'
    js_splitter_code = r'''
var splitQuery = (query) =>
  (query.match(/[\u4e00-\u9fff]+|[a-zA-Z0-9_]+/g) || []).flatMap((run) =>
    run < "\u4e00" || run.length === 1
      ? [run]
      : Array.from(run.slice(1), (next, i) => run[i] + next),
  );
'''
    runs = re.compile('[\u4e00-\u9fff]+|[a-zA-Z0-9_]+')

    def split(self, input: str) -> list:
        words = []
        for run in self.runs.findall(input):
            if run < '\u4e00':
                self.latin_terms.add(run)
                words.append(run)
                continue
            words += [run[i:j] for i in range(len(run))
                      for j in (i + 1, i + 2) if j <= len(run)]
        return words

    def word_filter(self, stemmed_word: str) -> bool:
        return len(stemmed_word) > 1 or stemmed_word >= '\u4e00'
