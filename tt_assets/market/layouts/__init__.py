"""Daily bars as people have them: any public layout in any common container, read into the columns of a bar.

`containers` opens files and says what they are, `delimited` and `typed` read tables, `vocabulary` and `recognise` find
out which column is what, `dates` and `numbers` read the cells, `normalise` puts them together into checked bars,
`versions` keeps them per version of the files, `findings` says what a person should know about them before a load.
"""
